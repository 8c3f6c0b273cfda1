"""The stages that annotate pairs, one module each, and the modules that they share."""

if __name__ == "annotators":
    __import__("spatialdata_builder").adopt(__name__)  # the folder of a checkout, under its bare name

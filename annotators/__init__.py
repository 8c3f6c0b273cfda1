"""The stages that annotate pairs, one module each, and what they measure and say."""

if __name__ == "annotators":
    __import__("spatialdata_builder").adopt(__name__)  # the folder of a checkout, under its bare name

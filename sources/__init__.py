"""Sources of pairs: released datasets, or scenes that are composed and rendered."""

if __name__ == "sources":
    __import__("spatialdata_builder").adopt(__name__)  # the folder of a checkout, under its bare name

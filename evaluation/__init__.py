"""Benchmark sets, the editors that are run on them, and what their predictions are worth."""

if __name__ == "evaluation":
    __import__("spatialdata_builder").adopt(__name__)  # the folder of a checkout, under its bare name

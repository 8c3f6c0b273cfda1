"""From a configuration to shards: plan, layers, engines, packing, commands, reports."""

if __name__ == "pipeline":
    __import__("spatialdata_builder").adopt(__name__)  # the folder of a checkout, under its bare name

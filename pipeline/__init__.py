"""From a configuration to shards: plan, layers, engines, packing, commands, reports."""

if __name__ == "pipeline":
    __import__("spatialdata_builder").adopt(__name__)  # a folder of a checkout, imported by its bare name

"""SpatialFusion: depth of the target, predicted beside the MLLM, guides the edit. Our reading of its abstract."""

"""SpatialFusion (our reading of its abstract): a branch beside the MLLM predicts the target's metric depth, which conditions the editing model."""

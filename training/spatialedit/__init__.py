"""SpatialEdit-16B LoRA (arXiv 2604.04911): translation, rotation, scaling and camera changes by instruction."""

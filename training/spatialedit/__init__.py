"""SpatialEdit-16B LoRA (arXiv 2604.04911): moves, turns, scalings and camera changes by instruction."""

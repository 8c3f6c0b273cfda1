"""I-LDM (arXiv 2508.10382): an image and its depth, normals, segments and lines denoised together."""

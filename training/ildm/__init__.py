"""I-LDM (arXiv 2508.10382): joint denoising of an image and its depth, normals, segments and lines."""

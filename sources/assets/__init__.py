"""3D models: reading and measuring their files, and what scenes need to know about them."""

"""3D models: how a file is read and measured, and what a scene must know of it."""

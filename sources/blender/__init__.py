"""The Blender process: the scripts that run in it, its environment, and the client that renders with it."""

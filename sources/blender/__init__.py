"""Blender in a process of its own: the worker's scripts, the process, the renderer's client."""

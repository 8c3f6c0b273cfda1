"""Metrics that need no judge: pixels, where the object went, relations, the camera, depth."""

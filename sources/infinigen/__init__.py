"""Furniture and household objects that Infinigen generates: a folder of models that source `models` reads."""

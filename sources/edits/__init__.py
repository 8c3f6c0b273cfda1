"""Edits of a scene: proposals, inverses and compositions."""

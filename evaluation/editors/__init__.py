"""Editors: what turns a source image and an instruction into an image."""

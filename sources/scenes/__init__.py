"""Scenes before they are rendered, sampled in numpy from a seed."""

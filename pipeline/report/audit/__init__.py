"""Estimated maps against exact maps."""

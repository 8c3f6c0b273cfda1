"""Comparison of estimated maps with exact maps."""

"""Moves units through stages: in this process, or on Ray."""

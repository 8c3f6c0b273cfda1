"""The cost of a larger run."""

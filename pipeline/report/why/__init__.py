"""The history of one sample."""

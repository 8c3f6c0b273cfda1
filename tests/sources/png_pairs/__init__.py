"""Pairs from a folder of pictures: the worked example of docs/extending.md."""

"""Source `models`: a folder of model files, with an optional table of what is known about them."""

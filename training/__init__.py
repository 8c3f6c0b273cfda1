"""The trainers: one loop, and what each system adds to it."""

if __name__ == "training":
    __import__("spatialdata_builder").adopt(__name__)  # the folder of a checkout, under its bare name

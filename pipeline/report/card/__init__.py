"""The dataset card and the attribution of the assets."""

"""SpatialDiff: FLUX.1-Kontext conditioned on the source's geometry, with depth supervision of the target."""

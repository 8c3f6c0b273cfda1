"""SpatialDiff: FLUX.1-Kontext that sees the source's geometry, and is held to the depth of what it draws."""

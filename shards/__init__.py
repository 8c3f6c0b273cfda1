"""Ground floor: what a sample is, and how it lies on disk. Imports nothing of ours.

Import from the modules: `schema` and `sample` (the contracts), `codecs` and `geometry` (bytes and frames), `recipes`,
`layout` (names), `writer`, `index`, `reader` and `verify`. This package itself loads nothing, so that it costs nothing.
"""

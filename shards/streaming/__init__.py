"""The reader for training jobs: global shuffle over plain tars, exact and elastic resume. See `stream`.

order (which sample is at which position) -> places (byte offsets) -> fetch (bytes) -> decode (arrays) -> dataset.
"""

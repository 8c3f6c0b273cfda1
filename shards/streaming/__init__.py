"""The reader that training jobs use: global shuffle over plain tars, exact and elastic resume. See `stream`.

order (which sample comes when) -> places (where its bytes lie) -> fetch (bytes) -> decode (arrays) -> dataset.
"""

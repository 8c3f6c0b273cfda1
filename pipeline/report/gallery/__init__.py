"""The gallery: one folder of plain files that shows a set in a browser, from `file://`, without a server.

`DIR/index.html` and what it loads (`page/`); `DIR/data/` what is known of the samples, as scripts; `DIR/media/` their
pictures, byte for byte as layers or shards hold them.
"""

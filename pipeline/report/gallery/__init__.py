"""The gallery: one folder of plain files that shows a dataset in a browser, from `file://`, without a server.

`DIR/index.html` and the files that it loads (copied from `page/`); `DIR/data/`, the facts of the samples, as scripts;
`DIR/media/`, their pictures, byte for byte as in layers or shards.
"""

"""One module for each kind of edit: see `annotators.edits.kind`."""

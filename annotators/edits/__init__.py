"""What the annotators know of each kind of edit, one module a kind: see `annotators.edits.kind`."""

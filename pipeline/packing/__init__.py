"""Pack layers into shards: find duplicates, filter by license, assemble samples, write tars."""

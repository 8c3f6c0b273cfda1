"""From layers to shards: duplicates, assembly, packing."""

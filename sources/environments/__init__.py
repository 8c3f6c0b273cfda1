"""Room models of the user: found in a folder, and surveyed for the free space in which objects can stand."""

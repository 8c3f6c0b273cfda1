"""Progress of a build."""

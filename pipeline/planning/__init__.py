"""Plan the samples of a build, and decide which configuration OUT shows."""

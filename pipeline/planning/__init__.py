"""Which samples a build has, and which configuration OUT shows."""

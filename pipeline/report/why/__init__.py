"""What happened to one sample."""

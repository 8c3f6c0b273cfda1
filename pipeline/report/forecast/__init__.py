"""What a larger run costs."""

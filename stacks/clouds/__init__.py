"""What the platforms that make their machines on a cloud have in common."""

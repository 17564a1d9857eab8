"""What `converge` does to this member, one step at a time."""

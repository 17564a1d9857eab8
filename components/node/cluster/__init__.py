"""What the members of a cluster agree on: who may stop, who is changing it, who joined, users, CAs."""

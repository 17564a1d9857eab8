"""Whose data a machine holds, the disk that they are on, copies of them."""

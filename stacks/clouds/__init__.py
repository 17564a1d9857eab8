"""Common to all platforms that create machines on a cloud."""

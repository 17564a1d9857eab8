"""Clouds on one computer: real clients talk to their APIs, and their servers boot as machines of a lab."""

from .hetzner import CloudMachine, HetznerCloud

__all__ = ["CloudMachine", "HetznerCloud"]

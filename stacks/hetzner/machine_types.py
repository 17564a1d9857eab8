"""Hetzner's information about a server type."""

from components.hetzner.machine_types import machine_type

__all__ = ["machine_type"]

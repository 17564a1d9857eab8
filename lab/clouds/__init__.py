"""Emulated clouds on one computer: real clients use their APIs, and their servers boot as machines of a lab."""

from .aws import AwsCloud
from .emulator import CloudMachine, EmulatedCloud
from .hetzner import HetznerCloud

__all__ = ["AwsCloud", "CloudMachine", "EmulatedCloud", "HetznerCloud"]

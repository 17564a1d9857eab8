"""An emulator of the part of the Hetzner Cloud API that this project uses, with servers that boot as machines of a lab."""

from .handle import CloudMachine, HetznerCloud

__all__ = ["CloudMachine", "HetznerCloud"]

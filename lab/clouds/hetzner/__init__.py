"""An emulator of the part of the Hetzner Cloud API that this project uses; servers boot as machines of a lab."""

from .handle import HetznerCloud

__all__ = ["HetznerCloud"]

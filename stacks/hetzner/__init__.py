"""The platform `hetzner`: network and machines created on Hetzner Cloud."""

from ..platform import Platform
from .config import READ
from .keys import KEYS

HETZNER = Platform(
    name="hetzner", about="created on Hetzner Cloud", folder=__name__, keys=KEYS, read=READ, provider="Hetzner"
)

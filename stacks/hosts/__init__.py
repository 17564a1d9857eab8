"""The platform `hosts`: existing machines, listed in the configuration."""

from ..platform import Platform
from .config import read
from .keys import KEYS

HOSTS = Platform(name="hosts", about="existing machines", folder=__name__, keys=KEYS, read=read)

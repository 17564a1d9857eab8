"""The platform `hosts`: machines that exist already, named in the configuration."""

from ..platform import Platform
from .config import read
from .keys import KEYS

HOSTS = Platform(name="hosts", about="machines that exist", folder=__name__, keys=KEYS, read=read)

"""The platforms: the only place outside their folders that names them."""

from .aws import AWS
from .hetzner import HETZNER
from .hosts import HOSTS
from .platform import Platform

PLATFORMS: tuple[Platform, ...] = (HOSTS, AWS, HETZNER)

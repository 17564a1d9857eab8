"""The platform `aws`: network and machines created on AWS."""

from ..platform import Platform
from .config import READ
from .keys import KEYS

AWS = Platform(name="aws", about="created on AWS", folder=__name__, keys=KEYS, read=READ, provider="AWS")

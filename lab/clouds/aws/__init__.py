"""moto's server as the API of an emulated AWS whose instances boot as machines of a lab."""

from .handle import AwsCloud

__all__ = ["AwsCloud"]

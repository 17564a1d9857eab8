"""AWS's information about an instance type."""

from components.aws.machine_types import machine_type

__all__ = ["machine_type"]

"""AWS's information about an instance type."""

from collections.abc import Callable
from typing import TypeVar

import pulumi_aws as aws

from components.plan.sizes import MIB

from ..platform import MachineType

_T = TypeVar("_T")


def machine_type(type_: str) -> MachineType:
    """AWS's answer about an instance type: two requests, each of which may fail."""
    return MachineType(_asked(lambda: _memory(type_)), _asked(lambda: _zones(type_)))


def _memory(type_: str) -> int:
    return aws.ec2.get_instance_type(instance_type=type_).memory_size * MIB


def _zones(type_: str) -> dict[str, bool]:
    found = aws.ec2.get_instance_type_offerings(
        filters=[{"name": "instance-type", "values": [type_]}], location_type="availability-zone"
    )
    return dict.fromkeys(found.locations, True)


def _asked(question: Callable[[], _T]) -> _T | Exception:
    try:
        return question()
    except Exception as error:  # any error of the engine or the provider
        return error

"""AWS's information about an instance type."""

from collections.abc import Callable
from typing import TypeVar

import pulumi
import pulumi_aws as aws

from ..machine_types import MachineType
from ..plan.sizes import MIB

_T = TypeVar("_T")


def machine_type(type_: str, opts: pulumi.InvokeOptions | None = None) -> MachineType:
    """AWS's answer about an instance type: two requests, each of which may fail."""
    return MachineType(_asked(lambda: _memory(type_, opts)), _asked(lambda: _zones(type_, opts)))


def _memory(type_: str, opts: pulumi.InvokeOptions | None) -> int:
    return aws.ec2.get_instance_type(instance_type=type_, opts=opts).memory_size * MIB


def _zones(type_: str, opts: pulumi.InvokeOptions | None) -> dict[str, bool]:
    found = aws.ec2.get_instance_type_offerings(
        filters=[{"name": "instance-type", "values": [type_]}], location_type="availability-zone", opts=opts
    )
    return dict.fromkeys(found.locations, True)


def _asked(question: Callable[[], _T]) -> _T | Exception:
    try:
        return question()
    except Exception as error:  # any error of the engine or the provider
        return error

"""The properties of an instance type."""

from __future__ import annotations

from typing import Any

from ..server import Call
from .cloud import Cloud
from .image import Function


def get_instance_type(cloud: Cloud) -> Function:
    """`aws.ec2.getInstanceType`, with the memory only."""

    def ask(_: Call, given: dict[str, Any]) -> dict[str, Any]:
        name = given["instanceType"]
        (row,) = cloud.ask("ec2", "describe_instance_types", InstanceTypes=[name])["InstanceTypes"]
        return {**given, "id": name, "memorySize": row["MemoryInfo"]["SizeInMiB"], "region": cloud.region}

    return ask

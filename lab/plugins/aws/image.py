"""The functions that find the newest image, and the zones that offer an instance type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..server import Call, ProviderError
from .cloud import Cloud

_SERVED = ("mostRecent", "owners", "filters")
Function = Callable[[Call, dict[str, Any]], dict[str, Any]]


def get_ami(cloud: Cloud) -> Function:
    """`aws.ec2.getAmi` of an account."""

    def ask(_: Call, given: dict[str, Any]) -> dict[str, Any]:
        for name, value in given.items():
            if name not in _SERVED and value:
                raise ProviderError(f"{name}: this stand-in does not serve it; install the official plugin")
        filters = [{"Name": row["name"], "Values": row["values"]} for row in given.get("filters") or []]
        asked = {name: value for name, value in (("Owners", given.get("owners")), ("Filters", filters)) if value}
        found = sorted(cloud.ask("ec2", "describe_images", **asked)["Images"], key=lambda row: str(row["CreationDate"]))
        if not found:
            raise ProviderError("Your query returned no results. Please change your search criteria and try again.")
        if len(found) > 1 and not given.get("mostRecent"):
            raise ProviderError(
                "Your query returned more than one result. Please try a more specific search criteria, or set "
                "`most_recent` attribute to true."
            )
        row = found[-1]
        return {**given, "id": row["ImageId"], "imageId": row["ImageId"], "name": row["Name"], "region": cloud.region}

    return ask


def get_offerings(cloud: Cloud) -> Function:
    """`aws.ec2.getInstanceTypeOfferings` of an account."""

    def ask(_: Call, given: dict[str, Any]) -> dict[str, Any]:
        filters = [{"Name": row["name"], "Values": row["values"]} for row in given.get("filters") or []]
        kind = given.get("locationType") or "region"
        rows = cloud.ask("ec2", "describe_instance_type_offerings", LocationType=kind, Filters=filters)
        found = rows["InstanceTypeOfferings"]
        return {
            **given,
            "id": cloud.region,
            "region": cloud.region,
            "instanceTypes": [row["InstanceType"] for row in found],
            "locations": [row["Location"] for row in found],
            "locationTypes": [row["LocationType"] for row in found],
        }

    return ask

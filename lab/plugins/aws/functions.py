"""Functions: what a program asks of the account without making anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..server import ProviderError
from .base import tags_of
from .cloud import Cloud

Values = dict[str, Any]


def functions(cloud: Cloud) -> Mapping[str, Callable[[Values], Values]]:
    """All of them, by token."""
    table: Mapping[str, Callable[[Cloud, Values], Values]] = {
        "aws:ec2/getAmi:getAmi": _ami,
        "aws:ec2/getVpc:getVpc": _vpc,
        "aws:ec2/getSubnet:getSubnet": _subnet,
        "aws:ec2/getInstanceType:getInstanceType": _instance_type,
        "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
        "aws:index/getRegion:getRegion": _region,
        "aws:index/getCallerIdentity:getCallerIdentity": _caller,
        "aws:ssm/getParameter:getParameter": _parameter,
    }
    return {token: lambda given, ask=ask: ask(cloud, given) for token, ask in table.items()}  # type: ignore[misc]


def _filters(given: Values) -> list[Values]:
    return [{"Name": row["name"], "Values": row["values"]} for row in given.get("filters") or []]


def _only(given: Values, served: tuple[str, ...]) -> None:
    for name, value in given.items():
        if name not in served and value:
            raise ProviderError(f"{name}: this stand-in does not serve it: use the official plugin for it")


def _ask(cloud: Cloud, operation: str, **given: Any) -> Values:
    return cloud.ask("ec2", operation, **given)


def _ami(cloud: Cloud, given: Values) -> Values:
    _only(given, ("mostRecent", "owners", "filters", "includeDeprecated", "nameRegex", "region", "allowUnsafeFilter"))
    _only({"nameRegex": given.get("nameRegex")}, ())
    asked = {"Owners": given["owners"]} if given.get("owners") else {}
    if filters := _filters(given):
        asked["Filters"] = filters
    found = sorted(_ask(cloud, "describe_images", **asked)["Images"], key=lambda row: str(row["CreationDate"]))
    if not found:
        raise ProviderError("Your query returned no results. Please change your search criteria and try again.")
    if len(found) > 1 and not given.get("mostRecent"):
        raise ProviderError(
            "Your query returned more than one result. Please try a more specific search criteria, or set "
            "`most_recent` attribute to true."
        )
    row = found[-1]
    names = {"imageId": "ImageId", "name": "Name", "architecture": "Architecture", "ownerId": "OwnerId"}
    names |= {"rootDeviceName": "RootDeviceName", "creationDate": "CreationDate", "description": "Description"}
    names |= {"virtualizationType": "VirtualizationType", "rootDeviceType": "RootDeviceType", "state": "State"}
    seen = {name: row.get(there) for name, there in names.items()}
    arn = f"arn:aws:ec2:{cloud.region}::image/{row['ImageId']}"
    return {**given, **seen, "id": row["ImageId"], "arn": arn, "tags": tags_of(row), "region": cloud.region}


def _one(cloud: Cloud, given: Values, operation: str, rows: str, key: str) -> Values:
    asked: Values = {}
    if given.get("id"):
        asked[f"{key}s"] = [given["id"]]
    filters = _filters(given)
    for name, there in {"cidrBlock": "cidr", "vpcId": "vpc-id", "availabilityZone": "availability-zone"}.items():
        if given.get(name):
            filters.append({"Name": there, "Values": [given[name]]})
    filters += [{"Name": f"tag:{name}", "Values": [value]} for name, value in (given.get("tags") or {}).items()]
    if given.get("default"):
        filters.append({"Name": "is-default", "Values": ["true"]})
    if filters:
        asked["Filters"] = filters
    found = _ask(cloud, operation, **asked)[rows]
    if len(found) != 1:
        how = "no" if not found else "multiple"
        raise ProviderError(f"{how} matching EC2 {rows} found" if found else f"no matching EC2 {key[:-2]} found")
    return dict(found[0])


def _vpc(cloud: Cloud, given: Values) -> Values:
    row = _one(cloud, given, "describe_vpcs", "Vpcs", "VpcId")
    blocks = [
        {"cidrBlock": one["CidrBlock"], "associationId": one["AssociationId"], "state": "associated"}
        for one in row.get("CidrBlockAssociationSet", [])
    ]
    return {
        "id": row["VpcId"],
        "arn": f"arn:aws:ec2:{cloud.region}:{row['OwnerId']}:vpc/{row['VpcId']}",
        "cidrBlock": row["CidrBlock"],
        "cidrBlockAssociations": blocks,
        "default": row["IsDefault"],
        "instanceTenancy": row["InstanceTenancy"],
        "ownerId": row["OwnerId"],
        "state": row["State"],
        "tags": tags_of(row),
        "region": cloud.region,
    }


def _subnet(cloud: Cloud, given: Values) -> Values:
    row = _one(cloud, given, "describe_subnets", "Subnets", "SubnetId")
    return {
        "id": row["SubnetId"],
        "arn": row["SubnetArn"],
        "vpcId": row["VpcId"],
        "cidrBlock": row["CidrBlock"],
        "availabilityZone": row["AvailabilityZone"],
        "availabilityZoneId": row["AvailabilityZoneId"],
        "mapPublicIpOnLaunch": row["MapPublicIpOnLaunch"],
        "availableIpAddressCount": row["AvailableIpAddressCount"],
        "ownerId": row["OwnerId"],
        "state": row["State"],
        "tags": tags_of(row),
        "region": cloud.region,
    }


def _instance_type(cloud: Cloud, given: Values) -> Values:
    row = _ask(cloud, "describe_instance_types", InstanceTypes=[given["instanceType"]])["InstanceTypes"][0]
    return {
        "id": row["InstanceType"],
        "instanceType": row["InstanceType"],
        "supportedArchitectures": row["ProcessorInfo"]["SupportedArchitectures"],
        "defaultVcpus": row["VCpuInfo"]["DefaultVCpus"],
        "memorySize": row["MemoryInfo"]["SizeInMiB"],
        "currentGeneration": row.get("CurrentGeneration", True),
        "hypervisor": row.get("Hypervisor", ""),
        "region": cloud.region,
    }


def _zones(cloud: Cloud, given: Values) -> Values:
    _only(given, ("state", "filters", "excludeNames", "excludeZoneIds", "region"))
    filters = _filters(given)
    if given.get("state"):
        filters.append({"Name": "state", "Values": [given["state"]]})
    rows = _ask(cloud, "describe_availability_zones", Filters=filters)["AvailabilityZones"]
    rows = [row for row in rows if row["ZoneName"] not in (given.get("excludeNames") or [])]
    rows.sort(key=lambda row: str(row["ZoneName"]))
    return {
        **given,
        "id": cloud.region,
        "names": [row["ZoneName"] for row in rows],
        "zoneIds": [row["ZoneId"] for row in rows],
        "groupNames": sorted({row["GroupName"] for row in rows if row.get("GroupName")}),
        "region": cloud.region,
    }


def _region(cloud: Cloud, given: Values) -> Values:  # noqa: ARG001
    return {
        "id": cloud.region,
        "name": cloud.region,
        "region": cloud.region,
        "endpoint": f"ec2.{cloud.region}.amazonaws.com",
    }


def _caller(cloud: Cloud, given: Values) -> Values:  # noqa: ARG001
    row = cloud.ask("sts", "get_caller_identity")
    return {"id": row["Account"], "accountId": row["Account"], "arn": row["Arn"], "userId": row["UserId"]}


def _parameter(cloud: Cloud, given: Values) -> Values:
    _only(given, ("name", "withDecryption", "region"))
    row = cloud.ask("ssm", "get_parameter", Name=given["name"])["Parameter"]
    seen = {"type": row["Type"], "value": row["Value"], "insecureValue": row["Value"], "version": row["Version"]}
    return {**seen, "id": given["name"], "name": given["name"], "arn": row["ARN"], "region": cloud.region}

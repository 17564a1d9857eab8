"""VPCs and their subnets, gateways and routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest_resource import Difference, Values
from ..server import Call, ProviderError
from .base import BUSY, REPLACES, AwsResource, checksum, pascal
from .cloud import patiently, until

_TARGETS = ("gatewayId", "natGatewayId")
_ATTRIBUTES = ("enableDnsSupport", "enableDnsHostnames")


class Vpc(AwsResource):
    title, marks = "Vpc", "vpc"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cidrBlock": {"replaces": True, "required": True},
        "enableDnsSupport": {"default": True},
    }
    computed = frozenset({"enableDnsHostnames", "enableNetworkAddressUsageMetrics", "instanceTenancy", "region"})
    sent = ("cidrBlock",)
    served = ("enableDnsHostnames",)

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        for name in _ATTRIBUTES:
            if name in given:
                self.ec2("modify_vpc_attribute", VpcId=identity, **{pascal(name): {"Value": given[name]}})

    def look(self, call: Call, identity: str) -> Values | None:
        thing = super().look(call, identity)
        if thing is not None:
            for name in _ATTRIBUTES:
                answer = self.ec2("describe_vpc_attribute", VpcId=identity, Attribute=name)
                thing[pascal(name)] = answer[pascal(name)]["Value"]
        return thing


class Subnet(AwsResource):
    title, marks = "Subnet", "subnet"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "vpcId": REPLACES,
        "cidrBlock": {"replaces": True, "required": True},
        "availabilityZone": REPLACES,
    }
    computed = frozenset({"availabilityZone", "region"})
    sent = ("vpcId", "cidrBlock", "availabilityZone")

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        shown = (*self.sent, "ownerId", "tags", "tagsAll", "region")
        return {name: value for name, value in super().seen(thing, given).items() if name in shown}


class InternetGateway(AwsResource):
    title, marks = "InternetGateway", "internet-gateway"
    served = ("vpcId",)
    computed = frozenset({"region"})

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        self.ec2("attach_internet_gateway", InternetGatewayId=identity, VpcId=given["vpcId"])

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        attached = next((row["VpcId"] for row in thing.get("Attachments", [])), "")
        return {**super().seen(thing, given), "vpcId": attached}

    def remove(self, call: Call, identity: str, state: Values) -> None:
        thing = self.look(call, identity) or {"Attachments": []}
        for row in thing["Attachments"]:
            names = {"InternetGatewayId": identity, "VpcId": row["VpcId"]}
            patiently(call, BUSY, lambda names=names: self.ec2("detach_internet_gateway", **names))  # type: ignore[misc]
        super().remove(call, identity, state)


class RouteTable(AwsResource):
    title, marks = "RouteTable", "route-table"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"vpcId": REPLACES}
    computed = frozenset({"routes", "propagatingVgws", "region"})
    sent = ("vpcId",)

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        hidden = ("routes", "propagatingVgws")
        return {name: value for name, value in super().seen(thing, given).items() if name not in hidden}


class Route(AwsResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"routeTableId": REPLACES, "destinationCidrBlock": REPLACES}
    computed = frozenset({*_TARGETS, "networkInterfaceId", "region"})
    sent = ("routeTableId", "destinationCidrBlock", *_TARGETS)

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        body = self.body(given)
        answer = patiently(call, ("InvalidNatGatewayID.NotReady",), lambda: self.ec2("create_route", **body))
        return _route(given["routeTableId"], given["destinationCidrBlock"]), answer

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        for table in self.ec2("describe_route_tables")["RouteTables"]:
            for route in table["Routes"]:
                if identity == _route(table["RouteTableId"], route.get("DestinationCidrBlock", "")):
                    return {**route, "RouteTableId": table["RouteTableId"]}
        return None

    def change(self, call: Call, change: Difference) -> None:  # noqa: ARG002
        if any(change.at(name) for name in _TARGETS):
            self.ec2("replace_route", **self.body(change.new))

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        where = {"RouteTableId": state["routeTableId"], "DestinationCidrBlock": state["destinationCidrBlock"]}
        self.ec2("delete_route", **where)


def _route(table: str, destination: str) -> str:
    return f"r-{table}{checksum(destination)}"


class RouteTableAssociation(AwsResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"subnetId": REPLACES}
    sent = ("subnetId", "routeTableId")
    computed = frozenset({"region"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        answer = self.ec2("associate_route_table", **self.body(given))
        return str(answer["AssociationId"]), answer

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        tables = self.ec2("describe_route_tables")["RouteTables"]
        rows = (row for table in tables for row in table["Associations"])
        return next((dict(row) for row in rows if row["RouteTableAssociationId"] == identity), None)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.ec2("disassociate_route_table", AssociationId=identity)


class NatGateway(AwsResource):
    title, marks = "NatGateway", "natgateway"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"allocationId": REPLACES, "subnetId": REPLACES}
    computed = frozenset(
        {"privateIp", "region", "availabilityMode", "connectivityType", "vpcId", "secondaryPrivateIpAddressCount"}
    )
    sent = ("allocationId", "subnetId")

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        def ready() -> Values | None:
            thing = super(NatGateway, self).look(call, identity)
            if thing is None or thing["State"] == "failed":
                raise ProviderError(
                    f"NAT gateway {identity}: {(thing or {}).get('FailureMessage', 'it no longer exists')}"
                )
            return thing if thing["State"] == "available" else None

        until(call, f"NAT gateway {identity}", ready)

    def look(self, call: Call, identity: str) -> Values | None:
        thing = super().look(call, identity)
        return None if thing is None or thing["State"] in ("deleted", "deleting") else thing

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        address = thing["NatGatewayAddresses"][0]
        names = {"publicIp": "PublicIp", "allocationId": "AllocationId"}
        return {**super().seen(thing, given), **{name: address[there] for name, there in names.items()}}

    def remove(self, call: Call, identity: str, state: Values) -> None:
        super().remove(call, identity, state)
        until(call, f"NAT gateway {identity}", lambda: True if self.look(call, identity) is None else None)

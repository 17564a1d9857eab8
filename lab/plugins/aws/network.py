"""VPCs and what is in them: subnets, gateways, routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest_resource import Difference, Values
from ..server import Call, ProviderError
from .base import BUSY, OFF, REPLACES, AwsResource, checksum
from .cloud import patiently, until

_TARGETS = ("gatewayId", "natGatewayId", "networkInterfaceId")


class Vpc(AwsResource):
    title, marks = "Vpc", "vpc"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cidrBlock": {"replaces": True, "required": True},
        "enableDnsSupport": {"default": True},
        "instanceTenancy": {"default": "default", "choices": ("default", "dedicated")},
    }
    computed = frozenset({"enableDnsHostnames", "enableNetworkAddressUsageMetrics", "region"})
    sent = ("cidrBlock", "instanceTenancy")
    served = ("enableDnsHostnames",)
    _attributes = ("enableDnsSupport", "enableDnsHostnames")

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        for name in self._attributes:
            if given.get(name, name == "enableDnsSupport") != (name == "enableDnsSupport"):
                self._set(identity, name, given[name])

    def look(self, call: Call, identity: str) -> Values | None:
        thing = super().look(call, identity)
        if thing is None:
            return None
        for name in self._attributes:
            answer = self.ec2("describe_vpc_attribute", VpcId=identity, Attribute=name)
            title = f"{name[0].upper()}{name[1:]}"
            thing[title] = answer[title]["Value"]
        here = [{"Name": "vpc-id", "Values": [identity]}]
        tables = self.ec2("describe_route_tables", Filters=[*here, {"Name": "association.main", "Values": ["true"]}])
        groups = self.ec2("describe_security_groups", Filters=here)["SecurityGroups"]
        acls = self.ec2("describe_network_acls", Filters=[*here, {"Name": "default", "Values": ["true"]}])
        main = [row["RouteTableId"] for row in tables["RouteTables"]]
        return {
            **thing,
            "MainRouteTableId": next(iter(main), None),
            "DefaultRouteTableId": next(iter(main), None),
            "DefaultSecurityGroupId": next((row["GroupId"] for row in groups if row["GroupName"] == "default"), None),
            "DefaultNetworkAclId": next((row["NetworkAclId"] for row in acls["NetworkAcls"]), None),
        }

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("instanceTenancy"):
            raise ProviderError("instanceTenancy: this stand-in does not change it: use the official plugin for it")
        for name in self._attributes:
            if change.at(name):
                self._set(change.identity, name, change.new.get(name, False))

    def _set(self, identity: str, name: str, value: bool) -> None:
        self.ec2("modify_vpc_attribute", VpcId=identity, **{f"{name[0].upper()}{name[1:]}": {"Value": value}})


class Subnet(AwsResource):
    title, marks = "Subnet", "subnet"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "vpcId": REPLACES,
        "cidrBlock": {"replaces": True, "required": True},
        "availabilityZone": REPLACES,
        "availabilityZoneId": REPLACES,
        "mapPublicIpOnLaunch": OFF,
        "assignIpv6AddressOnCreation": {"default": False, "choices": (False,)},
    }
    computed = frozenset({"availabilityZone", "availabilityZoneId", "privateDnsHostnameTypeOnLaunch", "region"})
    sent = ("vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId")

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        if given.get("mapPublicIpOnLaunch"):
            self._map(identity, value=True)

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        return {name: value for name, value in super().seen(thing, given).items() if name in _SUBNET}

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("mapPublicIpOnLaunch"):
            self._map(change.identity, value=change.new.get("mapPublicIpOnLaunch", False))

    def _map(self, identity: str, *, value: bool) -> None:
        self.ec2("modify_subnet_attribute", SubnetId=identity, MapPublicIpOnLaunch={"Value": value})


_SUBNET = frozenset(
    [
        "vpcId",
        "cidrBlock",
        "availabilityZone",
        "availabilityZoneId",
        "mapPublicIpOnLaunch",
        "ownerId",
        "tags",
        "tagsAll",
        "region",
        "assignIpv6AddressOnCreation",
    ]
)


class InternetGateway(AwsResource):
    title, marks = "InternetGateway", "internet-gateway"
    served = ("vpcId",)
    computed = frozenset({"vpcId", "region"})

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        if given.get("vpcId"):
            self.ec2("attach_internet_gateway", InternetGatewayId=identity, VpcId=given["vpcId"])

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        attached = next((row["VpcId"] for row in thing.get("Attachments", [])), "")
        return {**super().seen(thing, given), "vpcId": attached}

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("vpcId"):
            self._detach(call, change.identity, change.thing)
            self.finish(call, change.identity, change.new)

    def remove(self, call: Call, identity: str, state: Values) -> None:
        thing = self.look(call, identity)
        if thing is not None:
            self._detach(call, identity, thing)
            super().remove(call, identity, state)

    def _detach(self, call: Call, identity: str, thing: Mapping[str, Any]) -> None:
        for row in thing.get("Attachments", []):
            names = {"InternetGatewayId": identity, "VpcId": row["VpcId"]}
            patiently(call, BUSY, lambda names=names: self.ec2("detach_internet_gateway", **names))  # type: ignore[misc]


class RouteTable(AwsResource):
    title, marks = "RouteTable", "route-table"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"vpcId": REPLACES}
    computed = frozenset({"routes", "propagatingVgws", "region"})
    sent = ("vpcId",)

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        for name in ("routes", "propagatingVgws"):
            found.pop(name, None)
        return found


class Route(AwsResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"routeTableId": REPLACES, "destinationCidrBlock": REPLACES}
    computed = frozenset({*_TARGETS, "instanceId", "region"})
    sent = ("routeTableId", "destinationCidrBlock", *_TARGETS)

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        body = self.body(given)
        answer = patiently(call, ("InvalidNatGatewayID.NotReady",), lambda: self.ec2("create_route", **body))
        return _route(given["routeTableId"], given["destinationCidrBlock"]), answer

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        for table in self.ec2("describe_route_tables")["RouteTables"]:
            for route in table["Routes"]:
                there = route.get("DestinationCidrBlock", "")
                if identity in (_route(table["RouteTableId"], there), f"{table['RouteTableId']}_{there}"):
                    return {**route, "RouteTableId": table["RouteTableId"]}
        return None

    def change(self, call: Call, change: Difference) -> None:  # noqa: ARG002
        body = self.body(change.new)
        if any(change.at(name) for name in _TARGETS):
            self.ec2("replace_route", **body)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        where = {"RouteTableId": state["routeTableId"], "DestinationCidrBlock": state["destinationCidrBlock"]}
        self.ec2("delete_route", **where)


def _route(table: str, destination: str) -> str:
    return f"r-{table}{checksum(destination)}"


class RouteTableAssociation(AwsResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"subnetId": REPLACES, "gatewayId": REPLACES}
    sent = ("subnetId", "gatewayId", "routeTableId")
    computed = frozenset({"region"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        answer = self.ec2("associate_route_table", **self.body(given))
        return str(answer["AssociationId"]), answer

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        for table in self.ec2("describe_route_tables")["RouteTables"]:
            for row in table["Associations"]:
                if row["RouteTableAssociationId"] == identity:
                    return dict(row)
        return None

    def change(self, call: Call, change: Difference) -> None:  # noqa: ARG002
        raise ProviderError("routeTableId: this stand-in does not change it: use the official plugin for it")

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.ec2("disassociate_route_table", AssociationId=identity)


class NatGateway(AwsResource):
    title, marks, arn = "NatGateway", "natgateway", "natgateway"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "allocationId": REPLACES,
        "subnetId": REPLACES,
        "connectivityType": {"replaces": True, "default": "public", "choices": ("public", "private")},
        "privateIp": REPLACES,
    }
    computed = frozenset({"privateIp", "region", "availabilityMode", "vpcId", "secondaryPrivateIpAddressCount"})
    sent = ("allocationId", "subnetId", "connectivityType", "privateIp")
    where: ClassVar[Mapping[str, str]] = {"privateIp": "PrivateIpAddress"}

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        def ready() -> Values | None:
            thing = super(NatGateway, self).look(call, identity)
            if thing is None or thing["State"] == "failed":
                raise ProviderError(f"NAT gateway {identity}: {(thing or {}).get('FailureMessage', 'it is gone')}")
            return thing if thing["State"] == "available" else None

        until(call, f"NAT gateway {identity}", ready)

    def look(self, call: Call, identity: str) -> Values | None:
        thing = super().look(call, identity)
        return None if thing is None or thing["State"] in ("deleted", "deleting") else thing

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        for address in thing.get("NatGatewayAddresses", [])[:1]:
            names = {"publicIp": "PublicIp", "privateIp": "PrivateIp", "networkInterfaceId": "NetworkInterfaceId"}
            names |= {"allocationId": "AllocationId", "associationId": "AssociationId"}
            found |= {name: address[there] for name, there in names.items() if address.get(there)}
        return found

    def remove(self, call: Call, identity: str, state: Values) -> None:
        super().remove(call, identity, state)

        def gone() -> bool | None:
            return True if self.look(call, identity) is None else None

        until(call, f"NAT gateway {identity}", gone)

"""Instances, with their network interfaces and addresses."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from ..rest_resource import Difference, Values
from ..server import Call, ProviderError
from ..wire import Change, plain
from .base import REPLACES, AwsResource, pascal, tags_of
from .cloud import patiently, until

_DISK = ("volumeSize", "volumeType", "encrypted", "deleteOnTermination")
# A new instance profile's role may not be known everywhere yet.
_LATER = ("InvalidParameterValue",)
_METADATA = ("httpEndpoint", "httpTokens", "httpPutResponseHopLimit")


class NetworkInterface(AwsResource):
    title, marks = "NetworkInterface", "network-interface"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"subnetId": REPLACES}
    served = ("description", "securityGroups", "privateIps")

    @cached_property
    def computed(self) -> frozenset[str]:  # type: ignore[override]
        """The properties that AWS sets if the program does not."""
        return frozenset(self.fields) - {"subnetId", "description", "tags"}

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        body: Values = {"SubnetId": given["subnetId"], "Description": given.get("description", "")}
        if given.get("securityGroups"):
            body["Groups"] = given["securityGroups"]
        if given.get("privateIps"):
            rows = [{"PrivateIpAddress": one, "Primary": at == 0} for at, one in enumerate(given["privateIps"])]
            body["PrivateIpAddresses"] = rows
        thing = self.ec2("create_network_interface", **body, **self.tagged(given))["NetworkInterface"]
        return str(thing["NetworkInterfaceId"]), thing

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        shown = super().seen(thing, given)
        return {
            **{name: shown[name] for name in ("subnetId", "description", "tags", "tagsAll", "region") if name in shown},
            "securityGroups": [group["GroupId"] for group in thing["Groups"]],
            "privateIp": thing["PrivateIpAddress"],
            "privateIps": [row["PrivateIpAddress"] for row in thing["PrivateIpAddresses"]],
        }


class Instance(AwsResource):
    title, marks = "Instance", "instance"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ami": REPLACES,
        "primaryNetworkInterface": {"replaces": True, "required": True},
        "userDataReplaceOnChange": {"default": False},
        "rootBlockDevice.deleteOnTermination": {"default": True},
    }
    in_place = ("rootBlockDevice", "userDataReplaceOnChange", "iamInstanceProfile")
    served = ("instanceType", "iamInstanceProfile", "userData", "metadataOptions", "rootBlockDevice")
    hidden = frozenset({"userDataReplaceOnChange"})

    @cached_property
    def computed(self) -> frozenset[str]:  # type: ignore[override]
        """The properties that AWS sets if the program does not: nearly all."""
        return frozenset(self.fields) - {"ami", "instanceType", "tags", "userDataReplaceOnChange", "iamInstanceProfile"}

    def diff(self, old: Mapping[str, Any], state: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
        replacing = {"rootBlockDevice.encrypted"}
        if plain(new.get("userDataReplaceOnChange")):
            replacing.add("userData")
        changes = super().diff(old, state, new)
        return {path: kind.replacing() if path in replacing else kind for path, kind in changes.items()}

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        body: Values = {"ImageId": given["ami"], "InstanceType": given["instanceType"], "MinCount": 1, "MaxCount": 1}
        card = given["primaryNetworkInterface"]["networkInterfaceId"]
        body["NetworkInterfaces"] = [{"DeviceIndex": 0, "NetworkInterfaceId": card}]
        if given.get("userData"):
            body["UserData"] = given["userData"]
        if given.get("iamInstanceProfile"):
            body["IamInstanceProfile"] = {"Name": given["iamInstanceProfile"]}
        if given.get("metadataOptions"):
            body["MetadataOptions"] = {pascal(name): value for name, value in given["metadataOptions"].items()}
        image = self.found("describe_images", ImageIds=[given["ami"]])
        if image and given.get("rootBlockDevice"):
            disk = {pascal(name): value for name, value in given["rootBlockDevice"].items() if name in _DISK}
            body["BlockDeviceMappings"] = [{"DeviceName": image[0]["RootDeviceName"], "Ebs": disk}]
        later = _LATER if given.get("iamInstanceProfile") else ()
        answer = patiently(call, later, lambda: self.ec2("run_instances", **body, **self.tagged(given)))
        return str(answer["Instances"][0]["InstanceId"]), answer["Instances"][0]

    def finish(self, call: Call, identity: str, given: Values) -> None:
        wait_for_state(self, call, identity, "running")
        if tags := (given.get("rootBlockDevice") or {}).get("tags"):
            self.retag(self._there(call, identity)["_root"]["VolumeId"], {}, tags)

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        found = self.found("describe_instances", InstanceIds=[identity])
        rows = [row for reservation in found for row in reservation["Instances"]]
        if not rows or rows[0]["State"]["Name"] in ("terminated", "shutting-down"):
            return None
        thing = dict(rows[0])
        data = self.ec2("describe_instance_attribute", InstanceId=identity, Attribute="userData")
        thing["_data"] = base64.b64decode(data.get("UserData", {}).get("Value", "")).decode(errors="replace")
        for row in thing["BlockDeviceMappings"]:
            if row["DeviceName"] == thing["RootDeviceName"]:
                volume = self.ec2("describe_volumes", VolumeIds=[row["Ebs"]["VolumeId"]])["Volumes"][0]
                thing["_root"] = {**volume, **row["Ebs"], "VolumeSize": volume["Size"]}
        return thing

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        shown = super().seen(thing, given)
        card = thing["NetworkInterfaces"][0]
        attached = {"networkInterfaceId": card["NetworkInterfaceId"]}
        root, options = thing.get("_root"), thing["MetadataOptions"]
        found = {
            **{name: shown[name] for name in ("instanceType", "tags", "tagsAll", "region")},
            "ami": thing["ImageId"],
            "instanceState": thing["State"]["Name"],
            "privateIp": thing["PrivateIpAddress"],
            "publicIp": thing.get("PublicIpAddress", ""),
            "iamInstanceProfile": thing.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2],
            "primaryNetworkInterface": {**attached, "deleteOnTermination": card["Attachment"]["DeleteOnTermination"]},
            "userData": thing["_data"],
            "metadataOptions": {name: options[pascal(name)] for name in _METADATA if pascal(name) in options},
        }
        if root is not None:
            disk = {name: root[pascal(name)] for name in _DISK if root.get(pascal(name)) is not None}
            found["rootBlockDevice"] = {"volumeId": root["VolumeId"], **disk, "tags": tags_of(root)}
        return found

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("iamInstanceProfile"):
            self._profile(call, change.identity, change.new.get("iamInstanceProfile"))
        if change.at("rootBlockDevice"):
            old, wanted = change.thing["_root"], change.new["rootBlockDevice"]
            if any(old.get(pascal(name)) != wanted[name] for name in _DISK if name in wanted):
                raise ProviderError(
                    "rootBlockDevice: this stand-in can change only its tags; install the official plugin"
                )
            self.retag(old["VolumeId"], tags_of(old), wanted.get("tags") or {})

    def _profile(self, call: Call, identity: str, name: str | None) -> None:
        """Give the instance this profile, or none; it runs on."""
        here = [{"Name": "instance-id", "Values": [identity]}]
        old = self.ec2("describe_iam_instance_profile_associations", Filters=here)["IamInstanceProfileAssociations"]
        profile = {"Name": name}
        if name and old:
            there = {"AssociationId": old[0]["AssociationId"], "IamInstanceProfile": profile}
            patiently(call, _LATER, lambda: self.ec2("replace_iam_instance_profile_association", **there))
        elif name:
            there = {"InstanceId": identity, "IamInstanceProfile": profile}
            patiently(call, _LATER, lambda: self.ec2("associate_iam_instance_profile", **there))
        elif old:
            self.ec2("disassociate_iam_instance_profile", AssociationId=old[0]["AssociationId"])

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.ec2("terminate_instances", InstanceIds=[identity])
        wait_for_state(self, call, identity, "terminated")


def wait_for_state(resource: AwsResource, call: Call, identity: str, wanted: str) -> None:
    """Wait until an instance is in a state.

    Raises:
        ProviderError: it cannot get there, or it takes too long.
    """

    def look() -> bool | None:
        rows = resource.ec2("describe_instances", InstanceIds=[identity])["Reservations"]
        thing = rows[0]["Instances"][0]
        state = thing["State"]["Name"]
        if state == wanted:
            return True
        if state in ("terminated", "shutting-down") and wanted != "terminated":
            reason = thing.get("StateReason", {}).get("Message", "no reason given")
            raise ProviderError(f"instance {identity} is {state} instead of {wanted}: {reason}")
        return None

    until(call, f"instance {identity} should be {wanted}", look)


class Eip(AwsResource):
    title, plural, marks = "Address", "Addresses", "elastic-ip"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"domain": {"replaces": True, "choices": ("vpc",)}}
    computed = frozenset(
        {"domain", "instance", "networkInterface", "networkBorderGroup", "publicIpv4Pool", "ipamPoolId", "region"}
    )
    in_place = served = ("networkInterface",)
    where: ClassVar[Mapping[str, str]] = {"networkInterface": "NetworkInterfaceId"}

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        answer = self.ec2("allocate_address", Domain="vpc", **self.tagged(given))
        return str(answer["AllocationId"]), answer

    def finish(self, call: Call, identity: str, given: Values) -> None:
        if given.get("networkInterface"):
            # An instance during its launch, and a VPC while its internet gateway is attached, need a while.
            later = ("InvalidInstanceID", "IncorrectInstanceState", "Gateway.NotAttached")
            target = {"AllocationId": identity, "NetworkInterfaceId": given["networkInterface"]}
            patiently(call, later, lambda: self.ec2("associate_address", **target))

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        found = self.found("describe_addresses", AllocationIds=[identity])
        return dict(found[0]) if found else None

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        return {"networkInterface": "", **super().seen(thing, given)}

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("networkInterface"):
            self._disassociate(change.thing)
            self.finish(call, change.identity, change.new)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        thing = self.look(call, identity)
        if thing is not None:
            self._disassociate(thing)
            patiently(call, ("InvalidIPAddress.InUse",), lambda: self.ec2("release_address", AllocationId=identity))

    def _disassociate(self, thing: Mapping[str, Any]) -> None:
        if thing.get("AssociationId"):
            self.ec2("disassociate_address", AssociationId=thing["AssociationId"])

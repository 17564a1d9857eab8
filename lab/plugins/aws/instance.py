"""Instances and the network interfaces, addresses and keys that they have."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from ..rest_resource import Difference, Values
from ..server import Call, ProviderError
from ..wire import Change, plain
from .base import OFF, REPLACES, AwsResource, pascal, tags_of
from .cloud import patiently, until

_DISK = ("volumeSize", "volumeType", "iops", "throughput")


class NetworkInterface(AwsResource):
    title, marks = "NetworkInterface", "network-interface"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"subnetId": REPLACES, "sourceDestCheck": {"default": True}}
    computed = frozenset(
        {"privateIp", "privateIps", "privateIpsCount", "privateIpLists", "securityGroups", "interfaceType", "region"}
        | {"attachments", "ipv4Prefixes", "ipv6Addresses", "ipv6Prefixes", "ipv6AddressLists"}
    )
    served = ("subnetId", "description", "securityGroups", "privateIps")
    hidden = frozenset(
        {"attachments", "ipv4Prefixes", "ipv6Addresses", "ipv6Prefixes", "connectionTrackingSpecification"}
    )

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        body: Values = {"SubnetId": given["subnetId"], "Description": given.get("description", "")}
        if given.get("securityGroups"):
            body["Groups"] = given["securityGroups"]
        if given.get("privateIps"):
            rows = [{"PrivateIpAddress": one, "Primary": at == 0} for at, one in enumerate(given["privateIps"])]
            body["PrivateIpAddresses"] = rows
        thing = self.ec2("create_network_interface", **body, **self.tagged(given))["NetworkInterface"]
        return str(thing["NetworkInterfaceId"]), thing

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        if not given.get("sourceDestCheck", True):
            self._modify(identity, SourceDestCheck={"Value": False})

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        rows = thing["PrivateIpAddresses"]
        found = {
            **super().seen(thing, given),
            "securityGroups": [group["GroupId"] for group in thing["Groups"]],
            "privateIp": thing["PrivateIpAddress"],
            "privateIps": [row["PrivateIpAddress"] for row in rows],
            "privateIpsCount": len(rows) - 1,
        }
        return {name: value for name, value in found.items() if name not in self.hidden}

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("securityGroups"):
            self._modify(change.identity, Groups=change.new["securityGroups"])
        if change.at("description"):
            self._modify(change.identity, Description={"Value": change.new.get("description", "")})
        if change.at("sourceDestCheck"):
            self._modify(change.identity, SourceDestCheck={"Value": change.new.get("sourceDestCheck", True)})
        if change.at("privateIps"):
            raise ProviderError("privateIps: this stand-in does not change them: use the official plugin for it")

    def _modify(self, identity: str, **what: Any) -> None:
        self.ec2("modify_network_interface_attribute", NetworkInterfaceId=identity, **what)


class Instance(AwsResource):
    title, marks = "Instance", "instance"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ami": REPLACES,
        "availabilityZone": REPLACES,
        "subnetId": REPLACES,
        "privateIp": REPLACES,
        "associatePublicIpAddress": REPLACES,
        "keyName": REPLACES,
        "primaryNetworkInterface": REPLACES,
        "sourceDestCheck": {"default": True, "choices": ()},
        "getPasswordData": {"default": False},
        "userDataReplaceOnChange": OFF,
        "forceDestroy": OFF,
        "rootBlockDevice.deleteOnTermination": {"default": True},
    }
    served = (
        *("instanceType", "vpcSecurityGroupIds", "iamInstanceProfile", "userData", "userDataBase64", "metadataOptions"),
        *("rootBlockDevice", "disableApiTermination", "disableApiStop", "instanceInitiatedShutdownBehavior"),
    )
    where: ClassVar[Mapping[str, str]] = {
        "ami": "ImageId",
        "availabilityZone": "Placement.AvailabilityZone",
        "tenancy": "Placement.Tenancy",
        "instanceState": "State.Name",
        "privateIp": "PrivateIpAddress",
        "publicIp": "PublicIpAddress",
        "privateDns": "PrivateDnsName",
        "publicDns": "PublicDnsName",
    }
    hidden = frozenset({"getPasswordData", "userDataReplaceOnChange", "forceDestroy", "userDataBase64"})
    _shown = ("ami", "instanceType", "keyName", "subnetId", "availabilityZone", "tenancy", "instanceState", "privateIp")

    @cached_property
    def computed(self) -> frozenset[str]:  # type: ignore[override]
        """What AWS chooses where the program does not: nearly everything."""
        return frozenset(self.fields) - {"ami", "instanceType", "tags", "userDataReplaceOnChange", "forceDestroy"}

    def diff(self, old: Mapping[str, Any], state: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
        changes = super().diff(old, state, new)
        if plain(new.get("userDataReplaceOnChange")):
            for name in ("userData", "userDataBase64"):
                changes = self.replacing(changes, name)
        encrypted = "rootBlockDevice.encrypted"
        return {path: kind.replacing() if path == encrypted else kind for path, kind in changes.items()}

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        image = self.ec2("describe_images", ImageIds=[given["ami"]])["Images"]
        root = image[0]["RootDeviceName"] if image else ""
        body: Values = {"ImageId": given["ami"], "InstanceType": given["instanceType"], "MinCount": 1, "MaxCount": 1}
        for name, sent in {"keyName": "KeyName", "disableApiTermination": "DisableApiTermination"}.items():
            if given.get(name):
                body[sent] = given[name]
        for name in ("disableApiStop", "instanceInitiatedShutdownBehavior"):
            if given.get(name):
                body[pascal(name)] = given[name]
        if given.get("primaryNetworkInterface"):
            card = given["primaryNetworkInterface"]["networkInterfaceId"]
            body["NetworkInterfaces"] = [{"DeviceIndex": 0, "NetworkInterfaceId": card}]
        elif "associatePublicIpAddress" in given:
            card = {"DeviceIndex": 0, "AssociatePublicIpAddress": given["associatePublicIpAddress"]}
            own = {"subnetId": "SubnetId", "privateIp": "PrivateIpAddress", "vpcSecurityGroupIds": "Groups"}
            body["NetworkInterfaces"] = [
                {**card, **{sent: given[name] for name, sent in own.items() if given.get(name)}}
            ]
        else:
            own = {"subnetId": "SubnetId", "privateIp": "PrivateIpAddress", "vpcSecurityGroupIds": "SecurityGroupIds"}
            body |= {sent: given[name] for name, sent in own.items() if given.get(name)}
        if text := _user_data(given):
            body["UserData"] = text
        if given.get("iamInstanceProfile"):
            body["IamInstanceProfile"] = {"Name": given["iamInstanceProfile"]}
        if given.get("metadataOptions"):
            body["MetadataOptions"] = {pascal(name): value for name, value in given["metadataOptions"].items()}
        if disk := _disk(given):
            body["BlockDeviceMappings"] = [{"DeviceName": root, "Ebs": disk}]
        tags = self.tagged(given)
        # The role of an instance profile that is a moment old may not be known everywhere.
        later = ("InvalidParameterValue",) if given.get("iamInstanceProfile") else ()
        answer = patiently(call, later, lambda: self.ec2("run_instances", **body, **tags))
        return str(answer["Instances"][0]["InstanceId"]), answer["Instances"][0]

    def finish(self, call: Call, identity: str, given: Values) -> None:
        self._wait(call, identity, "running")
        if not given.get("sourceDestCheck", True):
            self.ec2("modify_instance_attribute", InstanceId=identity, SourceDestCheck={"Value": False})
        disk = given.get("rootBlockDevice") or {}
        if disk.get("tags"):
            thing = self._there(call, identity)
            self.retag(thing["_root"]["VolumeId"], {}, disk["tags"])

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        found = self.found("describe_instances", InstanceIds=[identity])
        rows = [row for reservation in found for row in reservation["Instances"]]
        if not rows or rows[0]["State"]["Name"] in ("terminated", "shutting-down"):
            return None
        thing = dict(rows[0])
        names = ("userData", "disableApiTermination", "disableApiStop", "instanceInitiatedShutdownBehavior")
        for name in names:
            answer = self.ec2("describe_instance_attribute", InstanceId=identity, Attribute=name)
            thing[f"_{name}"] = answer.get(pascal(name), {}).get("Value")
        root = [row for row in thing["BlockDeviceMappings"] if row["DeviceName"] == thing["RootDeviceName"]]
        if root:
            volume = self.ec2("describe_volumes", VolumeIds=[root[0]["Ebs"]["VolumeId"]])["Volumes"][0]
            thing["_root"] = {**volume, **root[0]["Ebs"], "DeviceName": root[0]["DeviceName"]}
        return thing

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        shown = super().seen(thing, given)
        found = {name: shown[name] for name in (*self._shown, "tags", "tagsAll", "region") if name in shown}
        card = next((row for row in thing["NetworkInterfaces"] if row["Attachment"]["DeviceIndex"] == 0), None)
        found |= {
            "publicIp": thing.get("PublicIpAddress", ""),
            "privateDns": thing.get("PrivateDnsName", ""),
            "publicDns": thing.get("PublicDnsName", ""),
            "sourceDestCheck": thing.get("SourceDestCheck", True),
            "associatePublicIpAddress": bool(thing.get("PublicIpAddress")),
            "vpcSecurityGroupIds": [group["GroupId"] for group in thing["SecurityGroups"]],
            "disableApiTermination": bool(thing["_disableApiTermination"]),
            "disableApiStop": bool(thing["_disableApiStop"]),
            "instanceInitiatedShutdownBehavior": thing["_instanceInitiatedShutdownBehavior"],
            "iamInstanceProfile": thing.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2],
            "primaryNetworkInterfaceId": card["NetworkInterfaceId"] if card else "",
        }
        if card and "primaryNetworkInterface" in given:
            wanted = {"networkInterfaceId": card["NetworkInterfaceId"]}
            found["primaryNetworkInterface"] = {
                **wanted,
                "deleteOnTermination": card["Attachment"]["DeleteOnTermination"],
            }
        if text := thing["_userData"]:
            found["userData"] = base64.b64decode(text).decode(errors="replace")
        options = {
            name: thing["MetadataOptions"][pascal(name)]
            for name in _METADATA
            if pascal(name) in thing["MetadataOptions"]
        }
        found["metadataOptions"] = options
        if root := thing.get("_root"):
            names = ("volumeId", "deviceName", "deleteOnTermination", "encrypted", "kmsKeyId", "iops", "throughput")
            disk = {name: root[pascal(name)] for name in names if root.get(pascal(name)) is not None}
            found["rootBlockDevice"] = {
                **disk,
                "volumeSize": root["Size"],
                "volumeType": root["VolumeType"],
                "tags": tags_of(root),
                "tagsAll": tags_of(root),
            }
        return found

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        identity, new, thing = change.identity, change.new, change.thing
        if change.at("instanceType") or change.at("userData"):
            self._power(call, identity, on=False)
            if change.at("instanceType"):
                self.ec2("modify_instance_attribute", InstanceId=identity, InstanceType={"Value": new["instanceType"]})
            if change.at("userData"):
                text = {"Value": str(new.get("userData", "")).encode()}
                self.ec2("modify_instance_attribute", InstanceId=identity, UserData=text)
            self._power(call, identity, on=True)
        if change.at("vpcSecurityGroupIds"):
            self.ec2("modify_instance_attribute", InstanceId=identity, Groups=new["vpcSecurityGroupIds"])
        for name in ("sourceDestCheck", "disableApiTermination", "disableApiStop"):
            if change.at(name):
                value = {pascal(name): {"Value": bool(new.get(name))}}
                self.ec2("modify_instance_attribute", InstanceId=identity, **value)
        if change.at("metadataOptions"):
            options = {pascal(name): value for name, value in new["metadataOptions"].items()}
            self.ec2("modify_instance_metadata_options", InstanceId=identity, **options)
        if change.at("iamInstanceProfile") or change.at("instanceInitiatedShutdownBehavior"):
            raise ProviderError("this stand-in does not change iamInstanceProfile: use the official plugin for it")
        if change.at("rootBlockDevice"):
            old, wanted = thing["_root"], new["rootBlockDevice"]
            resized = {_VOLUME[name]: wanted[name] for name in _DISK if name in wanted}
            shown = {_VOLUME[name]: old.get(_VOLUME[name]) for name in _DISK}
            if any(shown[name] != value for name, value in resized.items()):
                self.ec2("modify_volume", VolumeId=old["VolumeId"], **resized)
            if "tags" in wanted:
                self.retag(old["VolumeId"], tags_of(old), wanted["tags"])

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.ec2("terminate_instances", InstanceIds=[identity])
        self._wait(call, identity, "terminated")

    def _power(self, call: Call, identity: str, *, on: bool) -> None:
        self.ec2("start_instances" if on else "stop_instances", InstanceIds=[identity])
        self._wait(call, identity, "running" if on else "stopped")

    def _wait(self, call: Call, identity: str, wanted: str) -> None:
        wait_for_state(self, call, identity, wanted)


def wait_for_state(resource: AwsResource, call: Call, identity: str, wanted: str) -> None:
    """Wait until an instance is in a state.

    Raises:
        ProviderError: it will never be, or it takes too long.
    """

    def look() -> bool | None:
        rows = resource.ec2("describe_instances", InstanceIds=[identity])["Reservations"]
        thing = rows[0]["Instances"][0]
        state = thing["State"]["Name"]
        if state == wanted:
            return True
        if state in ("terminated", "shutting-down") and wanted != "terminated":
            reason = thing.get("StateReason", {}).get("Message", "no reason given")
            raise ProviderError(f"instance {identity} is {state}, and should be {wanted}: {reason}")
        return None

    until(call, f"instance {identity} should be {wanted}", look)


_METADATA = ("httpEndpoint", "httpTokens", "httpPutResponseHopLimit", "httpProtocolIpv6", "instanceMetadataTags")
_VOLUME = {"volumeSize": "Size", "volumeType": "VolumeType", "iops": "Iops", "throughput": "Throughput"}


def _user_data(given: Values) -> bytes | str:
    if given.get("userDataBase64"):
        return base64.b64decode(given["userDataBase64"])
    return str(given.get("userData", ""))


def _disk(given: Values) -> Values:
    names = (*_DISK, "encrypted", "kmsKeyId", "deleteOnTermination")
    disk = given.get("rootBlockDevice") or {}
    return {pascal(name): disk[name] for name in names if disk.get(name) is not None}


class Eip(AwsResource):
    title, marks, arn = "Address", "elastic-ip", "eip-allocation"
    plural = "Addresses"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"domain": {"replaces": True, "choices": ("vpc", "standard")}}
    computed = frozenset(
        {"domain", "instance", "networkInterface", "networkBorderGroup", "publicIpv4Pool", "ipamPoolId", "region"}
    )
    served = ("networkInterface", "instance", "associateWithPrivateIp")
    where: ClassVar[Mapping[str, str]] = {
        "networkInterface": "NetworkInterfaceId",
        "instance": "InstanceId",
        "privateIp": "PrivateIpAddress",
    }

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        answer = self.ec2("allocate_address", Domain=given.get("domain", "vpc"), **self.tagged(given))
        return str(answer["AllocationId"]), answer

    def finish(self, call: Call, identity: str, given: Values) -> None:
        _associate(self, call, {**given, "allocationId": identity})

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        found = self.found("describe_addresses", AllocationIds=[identity])
        return dict(found[0]) if found else None

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        for name in ("networkInterface", "instance", "associationId", "privateIp"):
            found.setdefault(name, "")
        return found

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("networkInterface") or change.at("instance"):
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


_ASSOCIATED = ("allocationId", "networkInterfaceId", "instanceId", "privateIpAddress", "publicIp")


class EipAssociation(AwsResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = dict.fromkeys(_ASSOCIATED, REPLACES)
    computed = frozenset({"networkInterfaceId", "instanceId", "privateIpAddress", "publicIp", "region"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        names = {"networkInterface": "networkInterfaceId", "instance": "instanceId"}
        chosen = {name: given[there] for name, there in names.items() if given.get(there)}
        identity = _associate(self, call, {**chosen, "allocationId": given["allocationId"]})
        return identity, {}

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        rows = self.ec2("describe_addresses")["Addresses"]
        return next((dict(row) for row in rows if row.get("AssociationId") == identity), None)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.ec2("disassociate_address", AssociationId=identity)


def _associate(resource: AwsResource, call: Call, given: Values) -> str:
    names = {"networkInterface": "NetworkInterfaceId", "instance": "InstanceId"}
    target = {sent: given[name] for name, sent in names.items() if given.get(name)}
    if not target:
        return ""
    if given.get("associateWithPrivateIp"):
        target["PrivateIpAddress"] = given["associateWithPrivateIp"]
    # An instance that is being launched, and a VPC whose internet gateway is being attached, say so for a while.
    later = ("InvalidInstanceID", "IncorrectInstanceState", "Gateway.NotAttached")
    answer = patiently(
        call, later, lambda: resource.ec2("associate_address", AllocationId=given["allocationId"], **target)
    )
    return str(answer["AssociationId"])


class KeyPair(AwsResource):
    title, marks, arn = "KeyPair", "key-pair", "key-pair"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "keyName": {"replaces": True, "required": True},
        "publicKey": {"replaces": True, "required": True},
    }
    computed = frozenset({"keyNamePrefix", "region"})
    hidden = frozenset({"publicKey"})
    where: ClassVar[Mapping[str, str]] = {"fingerprint": "KeyFingerprint"}

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        text = given["publicKey"].strip().encode()
        self.ec2("import_key_pair", KeyName=given["keyName"], PublicKeyMaterial=text, **self.tagged(given))
        return str(given["keyName"]), {}

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        rows = self.ec2("describe_key_pairs")["KeyPairs"]
        return next((dict(row) for row in rows if row["KeyName"] == identity), None)

    def change(self, call: Call, change: Difference) -> None:  # noqa: ARG002
        if change.at("tags"):
            self.retag(change.thing["KeyPairId"], change.old.get("tags") or {}, change.new.get("tags") or {})

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.ec2("delete_key_pair", KeyName=identity)

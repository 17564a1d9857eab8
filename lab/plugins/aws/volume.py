"""Volumes and their attachments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest_resource import Difference, Values
from ..server import Call
from .base import REPLACES, AwsResource, checksum
from .cloud import until
from .instance import wait_for_state

_CHANGED = {"size": "Size", "type": "VolumeType", "iops": "Iops", "throughput": "Throughput"}


class Volume(AwsResource):
    title, marks = "Volume", "volume"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = dict.fromkeys(
        ("availabilityZone", "encrypted", "kmsKeyId"), REPLACES
    )
    in_place = tuple(_CHANGED)
    computed = frozenset({"encrypted", "kmsKeyId", "iops", "throughput", "type", "size", "snapshotId", "region"})
    sent = ("availabilityZone", *_CHANGED, "encrypted", "kmsKeyId")
    where: ClassVar[Mapping[str, str]] = {"type": "VolumeType"}

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        _wait(self, call, identity, "available")

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        return {name: value for name, value in super().seen(thing, given).items() if name != "createTime"}

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        body = {sent: change.new[name] for name, sent in _CHANGED.items() if change.at(name)}
        if body:
            self.ec2("modify_volume", VolumeId=change.identity, **body)


class VolumeAttachment(AwsResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **dict.fromkeys(("deviceName", "instanceId", "volumeId"), REPLACES),
        "stopInstanceBeforeDetaching": {},
    }
    in_place = ("stopInstanceBeforeDetaching",)
    computed = frozenset({"region"})
    hidden = frozenset({"stopInstanceBeforeDetaching"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        instance, volume, device = (given[name] for name in ("instanceId", "volumeId", "deviceName"))
        _wait(self, call, volume, "available")
        self.ec2("attach_volume", InstanceId=instance, VolumeId=volume, Device=device)
        return _identity(device, instance, volume), {}

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        _wait(self, call, given["volumeId"], "in-use")

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        for volume in self.ec2("describe_volumes")["Volumes"]:
            for row in volume["Attachments"]:
                if _identity(row["Device"], row["InstanceId"], row["VolumeId"]) == identity:
                    return {**row, "DeviceName": row["Device"]}
        return None

    def remove(self, call: Call, identity: str, state: Values) -> None:
        if self.look(call, identity) is None:
            return
        instance, volume = state["instanceId"], state["volumeId"]
        if state.get("stopInstanceBeforeDetaching"):
            self.ec2("stop_instances", InstanceIds=[instance], Force=False)
            wait_for_state(self, call, instance, "stopped")
        self.ec2("detach_volume", InstanceId=instance, VolumeId=volume, Device=state["deviceName"])
        _wait(self, call, volume, "available")


def _identity(device: str, instance: str, volume: str) -> str:
    return f"vai-{checksum(f'{device}-{instance}-{volume}-')}"


def _wait(resource: AwsResource, call: Call, identity: str, wanted: str) -> None:
    def look() -> bool | None:
        volume = resource.ec2("describe_volumes", VolumeIds=[identity])["Volumes"][0]
        attached = all(row["State"] == "attached" for row in volume["Attachments"])
        return True if volume["State"] == wanted and attached else None

    until(call, f"volume {identity} should be {wanted}", look)

"""Volumes and their attachments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest_resource import Difference, Values
from ..server import Call, ProviderError
from .base import REPLACES, AwsResource, checksum
from .cloud import until
from .instance import wait_for_state

_CHANGED = {"size": "Size", "type": "VolumeType", "iops": "Iops", "throughput": "Throughput"}


class Volume(AwsResource):
    title, marks = "Volume", "volume"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "availabilityZone": REPLACES,
        "encrypted": REPLACES,
        "kmsKeyId": REPLACES,
        "snapshotId": REPLACES,
        "finalSnapshot": {"default": False, "choices": ()},
    }
    computed = frozenset({"encrypted", "kmsKeyId", "iops", "throughput", "type", "size", "snapshotId", "region"})
    sent = ("availabilityZone", "size", "type", "iops", "throughput", "encrypted", "kmsKeyId", "snapshotId")
    where: ClassVar[Mapping[str, str]] = {"type": "VolumeType"}
    hidden = frozenset({"finalSnapshot"})

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        _wait(self, call, identity, "available")

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        found["createTime"] = thing["CreateTime"].isoformat()
        return found

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        body = {sent: change.new[name] for name, sent in _CHANGED.items() if change.at(name)}
        if body:
            self.ec2("modify_volume", VolumeId=change.identity, **body)

    def remove(self, call: Call, identity: str, state: Values) -> None:
        if state.get("finalSnapshot"):
            raise ProviderError("finalSnapshot: this stand-in makes none: use the official plugin for it")
        super().remove(call, identity, state)


class VolumeAttachment(AwsResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **dict.fromkeys(("deviceName", "instanceId", "volumeId"), REPLACES),
        **{name: {} for name in ("stopInstanceBeforeDetaching", "forceDetach", "skipDestroy")},
    }
    computed = frozenset({"region"})
    hidden = frozenset({"stopInstanceBeforeDetaching", "forceDetach", "skipDestroy"})

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

    def change(self, call: Call, change: Difference) -> None:
        """Only what the next deletion has to know."""

    def remove(self, call: Call, identity: str, state: Values) -> None:
        if state.get("skipDestroy") or self.look(call, identity) is None:
            return
        instance, volume = state["instanceId"], state["volumeId"]
        if state.get("stopInstanceBeforeDetaching"):
            self.ec2("stop_instances", InstanceIds=[instance], Force=False)
            wait_for_state(self, call, instance, "stopped")
        where = {"InstanceId": instance, "VolumeId": volume, "Device": state["deviceName"]}
        self.ec2("detach_volume", **where, Force=bool(state.get("forceDetach", False)))
        _wait(self, call, volume, "available")


def _identity(device: str, instance: str, volume: str) -> str:
    return f"vai-{checksum(f'{device}-{instance}-{volume}-')}"


def _wait(resource: AwsResource, call: Call, identity: str, wanted: str) -> None:
    def look() -> bool | None:
        volume = resource.ec2("describe_volumes", VolumeIds=[identity])["Volumes"][0]
        attached = all(row["State"] == "attached" for row in volume["Attachments"])
        return True if volume["State"] == wanted and attached else None

    until(call, f"volume {identity} should be {wanted}", look)

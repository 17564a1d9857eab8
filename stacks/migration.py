"""The migration from stacked etcd in a configuration."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from components import ControlPlane, EtcdClusterArgs, Migration, Ssh

from .reading import Reading
from .ssh_settings import SshLogin, SshSettings


class Argument(TypedDict):
    """The argument of `EtcdCluster`."""

    migration: NotRequired[Migration]
    """The migration; absent without one."""


def logins(reading: Reading) -> Mapping[str, SshLogin]:
    """Control plane -> its login. Problems are noted."""
    given: dict[str, Any] = reading.given.get("migration", {})
    planes = given.get("controlPlanes", ())
    if not planes:
        return {}
    before = list(reading.problems)
    ssh = SshSettings(reading)
    found = {
        plane.get("name", ""): ssh.login_of(plane, f"migration.controlPlanes[{index}]")
        for index, plane in enumerate(planes)
    }
    # What is wrong with the common defaults was noted for the members.
    reading.problems[len(before) :] = [each for each in reading.problems[len(before) :] if each not in before]
    return found


def argument(reading: Reading) -> Argument:
    """The argument without logins, for the plan."""
    given: dict[str, Any] | None = reading.given.get("migration")
    if given is None:
        return {}
    nowhere: Ssh = {"host": "", "host_key": ""}
    planes: list[ControlPlane] = [
        {"name": plane.get("name", ""), "address": plane.get("address", ""), "ssh": nowhere}
        for plane in given.get("controlPlanes", ())
    ]
    return {"migration": {"phase": given.get("phase", ""), "control_planes": planes}}


def with_logins(args: EtcdClusterArgs, found: Mapping[str, SshLogin]) -> EtcdClusterArgs:
    """The arguments with the logins of the control planes."""
    if "migration" not in args:
        return args
    planes: list[ControlPlane] = [
        {"name": plane["name"], "address": plane["address"], "ssh": found[plane["name"]].to_machine}
        for plane in args["migration"].get("control_planes", ())
    ]
    return {**args, "migration": {**args["migration"], "control_planes": planes}}

"""Volumes."""

import re
import string
from collections.abc import Callable

from . import catalog, labels, machines
from .core import Cloud, Request, Row, now, shown
from .errors import ApiError, invalid

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_SMALLEST, _LARGEST = 10, 10240
_MOST_PER_SERVER = 16


def create(cloud: Cloud, request: Request) -> Row:
    """POST /volumes."""
    name = _named(request.get("name", str, required=True))
    size = _size(request)
    chosen = labels.check(request.get("labels", dict, default={}))
    kind = request.get("format", str)
    if kind not in (None, "ext4", "xfs"):
        raise invalid("format", "must be ext4 or xfs")
    number, wanted = request.get("server", int), request.get("location", (str, int))
    if (number is None) == (wanted is None):
        raise invalid("location", "exactly one of location and server must be given")
    if request.get("automount", bool) and number is None:
        raise invalid("automount", "server must be provided")
    server = cloud.unlocked(cloud.row("servers", number)) if number is not None else None
    place = server["location"] if server else catalog.location(wanted)
    cloud.free_name("volumes", name)
    row: Row = {
        "name": name,
        "server": None,
        "status": "creating",
        "location": place,
        "size": size,
        "format": kind,
        "protection": {"delete": False},
        "labels": chosen,
        "created": now(),
        "_device": None,
    }
    cloud.add("volumes", row)
    row["linux_device"] = f"/dev/disk/by-id/scsi-0HC_Volume_{row['id']}"
    following = []
    machines.volume(cloud, row).create(size, None)

    def make(_: Callable[[int], None]) -> None:
        if kind:
            machines.volume(cloud, row).create(size, kind)
        with cloud.change():
            row["status"] = "available"
        if server:
            _show(cloud, server)

    if server:
        connect(cloud, row, server)
    action = cloud.action("create_volume", ("volume", row["id"]), work=make, server=server)
    if server:
        following.append(cloud.action("attach_volume", ("server", server["id"]), ("volume", row["id"])))
    return {"volume": shown(row), "action": action, "next_actions": following}


def update(cloud: Cloud, request: Request) -> Row:
    """PUT /volumes/{id}."""
    return {"volume": shown(cloud.update("volumes", request, _named))}


def delete(cloud: Cloud, request: Request) -> None:
    """DELETE /volumes/{id}."""
    row = cloud.row("volumes", request.path[0])
    if row["protection"]["delete"]:
        raise ApiError("protected", "volume deletion is protected")
    if row["server"] is not None:
        raise ApiError("volume_already_attached", "the volume is attached to a server; detach it first")
    machines.volume(cloud, row).destroy()
    cloud.remove("volumes", row)


def attach(cloud: Cloud, request: Request) -> Row:
    """POST /volumes/{id}/actions/attach."""
    row = cloud.row("volumes", request.path[0])
    server = cloud.unlocked(cloud.referred("servers", request, "server"))
    connectable(row, server["location"])
    connect(cloud, row, server)

    def work(_: Callable[[int], None]) -> None:
        _show(cloud, server)

    resources = (("server", server["id"]), ("volume", row["id"]))
    return {"action": cloud.action("attach_volume", *resources, work=work, server=server)}


def detach(cloud: Cloud, request: Request) -> Row:
    """POST /volumes/{id}/actions/detach."""
    row = cloud.row("volumes", request.path[0])
    if row["server"] is None:
        raise ApiError("service_error", "the volume is not attached to a server")
    server = cloud.unlocked(cloud.row("servers", row["server"]))
    init = machines.guest(cloud, server).init
    device = machines.volume(cloud, row)
    row["server"] = None

    def work(_: Callable[[int], None]) -> None:
        device.pull(init)
        _show(cloud, server)
        with cloud.change():
            row["_device"] = None

    resources = (("server", server["id"]), ("volume", row["id"]))
    return {"action": cloud.action("detach_volume", *resources, work=work, server=server)}


def resize(cloud: Cloud, request: Request) -> Row:
    """POST /volumes/{id}/actions/resize."""
    row = cloud.row("volumes", request.path[0])
    size = _size(request)
    if size <= row["size"]:
        raise invalid("size", f"must be greater than {row['size']}")
    machines.volume(cloud, row).resize(size)
    row["size"] = size
    return {"action": cloud.action("resize_volume", ("volume", row["id"]))}


def change_protection(cloud: Cloud, request: Request) -> Row:
    """POST /volumes/{id}/actions/change_protection."""
    row = cloud.row("volumes", request.path[0])
    row["protection"]["delete"] = request.get("delete", bool, default=row["protection"]["delete"])
    return {"action": cloud.action("change_protection", ("volume", row["id"]))}


def connectable(row: Row, place: Row) -> None:
    """Refuse a volume that cannot be attached to a server in a location.

    Raises:
        ApiError: `volume_already_attached`, `invalid_input`.
    """
    if row["server"] is not None:
        raise ApiError("volume_already_attached", "the volume is already attached to a server, detach it first")
    if row["location"]["id"] != place["id"]:
        raise invalid("server", f"the volume is in {row['location']['name']}, the server in {place['name']}")


def room(count: int) -> None:
    """Refuse a server more volumes than it may have.

    Raises:
        ApiError: `resource_limit_exceeded`.
    """
    if count > _MOST_PER_SERVER:
        raise ApiError("resource_limit_exceeded", f"a server has at most {_MOST_PER_SERVER} volumes")


def connect(cloud: Cloud, row: Row, server: Row) -> None:
    """Let a server have a volume, in the account only."""
    used = {one["_device"] for one in cloud.rows("volumes") if one["server"] == server["id"]}
    room(len(used) + 1)
    letters = (f"sd{letter}" for letter in string.ascii_lowercase[1:])
    row["_device"] = next(name for name in letters if name not in used)
    row["server"] = server["id"]


def disconnect(cloud: Cloud, row: Row) -> None:
    """Take a volume from a server that is gone."""
    machines.volume(cloud, row).pull(None)
    row["server"] = row["_device"] = None


def _show(cloud: Cloud, server: Row) -> None:
    machines.reconfigure(cloud, server)
    machines.guest(cloud, server).refresh_devices()


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise invalid("name", f"'{name}' is no valid name of a volume")
    return name


def _size(request: Request) -> int:
    size = request.get("size", (int, float), required=True)
    if size != int(size) or not _SMALLEST <= size <= _LARGEST:
        raise invalid("size", f"must be between {_SMALLEST} and {_LARGEST}")
    return int(size)

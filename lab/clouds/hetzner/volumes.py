"""Volumes."""

import re
import string

from . import catalog, labels
from .core import Cloud, Request, Row, now, shown
from .errors import ApiError, invalid

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_SMALLEST, _LARGEST = 10, 10240


def create(cloud: Cloud, request: Request) -> Row:
    """POST /volumes."""
    name = request.get("name", str, required=True)
    _check_name(name)
    size = _size(request)
    chosen = labels.check(request.get("labels", dict, default={}))
    request.refuse("server", "format", "automount")
    place = catalog.location(request.get("location", (str, int), required=True))
    cloud.free_name("volumes", name)
    row: Row = {
        "name": name,
        "server": None,
        "status": "available",
        "location": place,
        "size": size,
        "format": None,
        "protection": {"delete": False},
        "labels": chosen,
        "created": now(),
        "_device": None,
    }
    cloud.add("volumes", row)
    row["linux_device"] = f"/dev/disk/by-id/scsi-0HC_Volume_{row['id']}"
    cloud.machines.size_volume(row)
    action = cloud.action("create_volume", ("volume", row["id"]))
    return {"volume": shown(row), "action": action, "next_actions": []}


def update(cloud: Cloud, request: Request) -> Row:
    """PUT /volumes/{id}."""
    return {"volume": shown(cloud.update("volumes", request, _check_name))}


def delete(cloud: Cloud, request: Request) -> None:
    """DELETE /volumes/{id}."""
    row = cloud.row("volumes", request.number)
    if row["server"] is not None:
        raise ApiError("volume_already_attached", "the volume is attached to a server; detach it first")
    cloud.machines.remove_volume(row)
    cloud.remove("volumes", row)


def attach(cloud: Cloud, request: Request) -> Row:
    """POST /volumes/{id}/actions/attach."""
    row = cloud.row("volumes", request.number)
    server = cloud.unlocked(cloud.referred("servers", request, "server"))
    request.refuse("automount")
    if row["server"] is not None:
        raise ApiError("volume_already_attached", "the volume is already attached to a server, detach it first")
    if row["location"]["id"] != server["location"]["id"]:
        places = (row["location"]["name"], server["location"]["name"])
        raise invalid("server", f"the volume is in {places[0]}, the server in {places[1]}")
    used = {one["_device"] for one in cloud.rows("volumes") if one["server"] == server["id"]}
    letters = (f"sd{letter}" for letter in string.ascii_lowercase[1:])
    row |= {"_device": next(name for name in letters if name not in used), "server": server["id"]}

    def work() -> None:
        cloud.machines.show_volumes(cloud, server)

    resources = (("server", server["id"]), ("volume", row["id"]))
    return {"action": cloud.action("attach_volume", *resources, work=work, server=server)}


def detach(cloud: Cloud, request: Request) -> Row:
    """POST /volumes/{id}/actions/detach."""
    row = cloud.row("volumes", request.number)
    if row["server"] is None:
        raise ApiError("service_error", "the volume is not attached to a server")
    server = cloud.unlocked(cloud.row("servers", row["server"]))
    row["server"] = None

    def work() -> None:
        cloud.machines.pull_volume(row, server)
        cloud.machines.show_volumes(cloud, server)

    resources = (("server", server["id"]), ("volume", row["id"]))
    return {"action": cloud.action("detach_volume", *resources, work=work, server=server)}


def resize(cloud: Cloud, request: Request) -> Row:
    """POST /volumes/{id}/actions/resize."""
    row = cloud.row("volumes", request.number)
    size = _size(request)
    if size <= row["size"]:
        raise invalid("size", f"must be greater than {row['size']}")
    row["size"] = size
    cloud.machines.size_volume(row)
    return {"action": cloud.action("resize_volume", ("volume", row["id"]))}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise invalid("name", f"'{name}' is not a valid volume name")


def _size(request: Request) -> int:
    size = request.get("size", (int, float), required=True)
    if size != int(size) or not _SMALLEST <= size <= _LARGEST:
        raise invalid("size", f"must be between {_SMALLEST} and {_LARGEST}")
    return int(size)

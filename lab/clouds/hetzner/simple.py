"""SSH keys and placement groups."""

import base64
import binascii
import hashlib

from . import labels
from .core import Cloud, Request, Row, now
from .errors import ApiError, invalid, not_unique

MOST_IN_GROUP = 10
_KEY_TYPES = {
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
}


def create_ssh_key(cloud: Cloud, request: Request) -> Row:
    """POST /ssh_keys."""
    name = request.get("name", str, required=True)
    text = request.get("public_key", str, required=True).strip()
    fingerprint = _fingerprint(text)
    chosen = labels.check(request.get("labels", dict, default={}))
    cloud.free_name("ssh_keys", name)
    if any(row["fingerprint"] == fingerprint for row in cloud.rows("ssh_keys")):
        raise not_unique("public_key", "SSH key with the same fingerprint already exists")
    row = {"name": name, "fingerprint": fingerprint, "public_key": text, "labels": chosen, "created": now()}
    return {"ssh_key": cloud.add("ssh_keys", row)}


def update_ssh_key(cloud: Cloud, request: Request) -> Row:
    """PUT /ssh_keys/{id}."""
    return {"ssh_key": cloud.update("ssh_keys", request)}


def delete_ssh_key(cloud: Cloud, request: Request) -> None:
    """DELETE /ssh_keys/{id}."""
    cloud.remove("ssh_keys", cloud.row("ssh_keys", request.number))


def group_view(cloud: Cloud, group: Row) -> Row:
    """A placement group as the API shows it."""
    return {**group, "servers": group_servers(cloud, group["id"])}


def group_servers(cloud: Cloud, group: int) -> list[int]:
    """The ids of the servers in a placement group."""
    return [row["id"] for row in cloud.rows("servers") if row["_group"] == group]


def room_in_group(cloud: Cloud, group: Row) -> None:
    """Refuse a server more than a group can hold.

    Raises:
        ApiError: `placement_error`.
    """
    if len(group_servers(cloud, group["id"])) >= MOST_IN_GROUP:
        raise ApiError("placement_error", f"a spread placement group holds at most {MOST_IN_GROUP} servers")


def create_group(cloud: Cloud, request: Request) -> Row:
    """POST /placement_groups."""
    name = request.get("name", str, required=True)
    kind = request.get("type", str, required=True)
    if kind != "spread":
        raise invalid("type", f"'{kind}' is unknown")
    chosen = labels.check(request.get("labels", dict, default={}))
    cloud.free_name("placement_groups", name)
    row = cloud.add("placement_groups", {"name": name, "type": kind, "labels": chosen, "created": now()})
    return {"placement_group": group_view(cloud, row), "action": None}


def update_group(cloud: Cloud, request: Request) -> Row:
    """PUT /placement_groups/{id}."""
    return {"placement_group": group_view(cloud, cloud.update("placement_groups", request))}


def delete_group(cloud: Cloud, request: Request) -> None:
    """DELETE /placement_groups/{id}."""
    row = cloud.row("placement_groups", request.number)
    if group_servers(cloud, row["id"]):
        raise ApiError("resource_in_use", "the placement group still has servers", status=422)
    cloud.remove("placement_groups", row)


def _fingerprint(text: str) -> str:
    words = text.split()
    try:
        if len(words) < 2 or words[0] not in _KEY_TYPES:
            raise ValueError
        blob = base64.b64decode(words[1], validate=True)
        length = int.from_bytes(blob[:4], "big")
        if blob[4 : 4 + length].decode() != words[0]:
            raise ValueError
    except (ValueError, binascii.Error):
        raise invalid("public_key", "is not a public key in OpenSSH's format") from None
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[n : n + 2] for n in range(0, 32, 2))

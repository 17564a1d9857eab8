"""Etcd's authentication as configured: which users are root, and which keys the others can access.

A client is the user whose name is the common name of its certificate. Names mark what belongs to this program: a user
does if a role `external-etcd/<user>` exists, and authentication if a role `external-etcd` does. All others are left
alone. Roles, unlike keys, are still there when somebody has deleted every key.
Each step can be repeated: the next run completes an interrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.spec import Spec, User
from .lease import text

MARK = "external-etcd"
"""A role without permissions that exists while this program has authentication on, or is turning it on or off."""
ROLES = "external-etcd/"
"""Prefix of the names of this program's roles."""
ROOTS = ("root", "kube-apiserver-etcd-client", "kube-etcd-healthcheck-client")
"""Users with full access: `root`, which etcd requires for authentication; API servers; and this program."""

_KINDS = ("read", "write", "readwrite")  # in the order of etcd's numbers

Permission = tuple[str, str, str]
"""Kind, first key, and the key behind the last one; empty: that one key alone."""


def settle(spec: Spec, addresses: Sequence[str]) -> None:
    """Turns authentication on with the desired users, or off if this program turned it on.

    Call it when all members are healthy and run the same version.

    Args:
        spec: the cluster; `users` is None without authentication.

    Raises:
        NodeError: they do not answer, or a user of that name does not belong to this program.
    """
    roles, ours = _roles(spec, addresses)
    if spec.users is None and MARK not in roles:
        return

    def told(*words: str) -> Mapping[str, Any]:
        return _told(spec, addresses, *words)

    users = _users(spec, addresses)
    wanted = spec.users or {}
    refuse_others(wanted, users, ours)
    on = bool(told("auth", "status").get("enabled"))
    if spec.users is None and on:
        # First, while this program's certificate is still that of a user.
        told("auth", "disable")
    if spec.users is not None:
        if MARK not in roles:
            told("role", "add", MARK)
        for step in _roots(told, users, roles):
            told(*step)
    for name in sorted(ours - set(wanted)):
        for step in removed(name, users):
            told(*step)
    for name, user in wanted.items():
        there = told("role", "get", ROLES + name).get("perm") or [] if name in ours else None
        holds = told("user", "get", name).get("roles") or [] if name in users else None
        for step in changed(name, user, None if there is None else [_permission(each) for each in there], holds):
            told(*step)
    if spec.users is None:
        told("role", "delete", MARK)
    elif not on:
        # Last: from now on, a client whose certificate names no user reaches nothing.
        told("auth", "enable")


def refuse_taken(spec: Spec, addresses: Sequence[str]) -> bool:
    """Refuses users that do not belong to this program, before any restart for the edit that adds them.

    Args:
        spec: the cluster, with the desired users.
        addresses: members that reach the quorum; without any there is no check yet.

    Returns:
        Whether that is settled.

    Raises:
        NodeError: there is such a user, or no member answers.
    """
    if spec.users and addresses:
        refuse_others(spec.users, _users(spec, addresses), _roles(spec, addresses)[1])
    return not spec.users or bool(addresses)


def _users(spec: Spec, addresses: Sequence[str]) -> Sequence[str]:
    """The users that etcd has."""
    return _told(spec, addresses, "user", "list").get("users") or []


def _roles(spec: Spec, addresses: Sequence[str]) -> tuple[Sequence[str], set[str]]:
    """The roles that etcd has, and the users that are ours."""
    roles = _told(spec, addresses, "role", "list").get("roles") or []
    return roles, {role[len(ROLES) :] for role in roles if role.startswith(ROLES)}


def _told(spec: Spec, addresses: Sequence[str], *words: str) -> Mapping[str, Any]:
    _, value, _ = etcd.etcdctl(spec, addresses, list(words))
    return value or {}


def refuse_others(wanted: Mapping[str, User], users: Sequence[str], ours: set[str]) -> None:
    """Raises NodeError if a desired user exists that this program did not create."""
    taken = [name for name in wanted if name in users and name not in ours]
    if taken:
        raise NodeError(
            f"etcd has a user {taken[0]} that this program did not create; its users and roles were not changed",
            f"Give the user in the configuration another name, or remove the other one: `etcdctl user delete "
            f"{taken[0]}`. Then run again.",
        )


def removed(name: str, users: Sequence[str]) -> Iterator[list[str]]:
    """Words for etcdctl that remove a user of this program. The role is removed last, because it marks the user."""
    if name in users:
        yield ["user", "delete", name]
    yield ["role", "delete", ROLES + name]


def changed(
    name: str, user: User, permissions: Sequence[Permission] | None, roles: Sequence[str] | None
) -> Iterator[list[str]]:
    """Words for etcdctl that change a user to its desired form. What it has before and after, it keeps meanwhile.

    Args:
        permissions: what its role may do now; None: there is no such role.
        roles: which roles it has now; None: there is no such user.
    """
    role = ROLES + name
    if permissions is None:
        yield ["role", "add", role]
    now = (user.permission, user.prefix, end_of(user.prefix))
    if now not in (permissions or ()):
        yield ["role", "grant-permission", role, user.permission, user.prefix, "--prefix"]
    for _, first, end in permissions or ():
        # A range has one permission: what was granted above is already another kind for the same range.
        if (first, end) != now[1:]:
            yield ["role", "revoke-permission", role, first, *([end] if end else [])]
    if roles is None:
        yield ["user", "add", name, "--no-password"]
    if role not in (roles or ()):
        yield ["user", "grant-role", name, role]
    for other in roles or ():
        if other != role:
            yield ["user", "revoke-role", name, other]


def end_of(prefix: str) -> str:
    """The first key behind all that begin with a prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _roots(told: Any, users: Sequence[str], roles: Sequence[str]) -> Iterator[list[str]]:
    if "root" not in roles:
        yield ["role", "add", "root"]
    for name in ROOTS:
        if name not in users:
            yield ["user", "add", name, "--no-password"]
        if name not in users or "root" not in (told("user", "get", name).get("roles") or []):
            yield ["user", "grant-role", name, "root"]


def _permission(raw: Mapping[str, Any]) -> Permission:
    kind = _KINDS[int(raw.get("permType", 0))]
    return kind, text(raw.get("key", "")), text(raw.get("range_end", ""))

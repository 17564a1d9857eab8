"""The user that etcd runs as."""

from __future__ import annotations

import pwd
from dataclasses import dataclass

from . import paths
from .errors import NodeError
from .run import run


@dataclass(frozen=True)
class Account:
    """Numeric ids of user and group."""

    uid: int
    gid: int


def find() -> Account | None:
    """The user, if it exists."""
    try:
        entry = pwd.getpwnam(paths.USER)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def get() -> Account:
    """The user that `prepare` has made.

    Raises:
        NodeError: there is none.
    """
    account = find()
    if account is None:
        raise NodeError(f"this machine has no user {paths.USER}", "Run `pulumi up`: prepare makes it.")
    return account


def create() -> None:
    """Makes the user and its group: no home, no shell, no password."""
    run(
        [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            paths.USER,
        ],
        30,
    )


def delete() -> None:
    """Removes the user and its group."""
    run(["userdel", paths.USER], 30, check=False)
    run(["groupdel", paths.USER], 30, check=False)

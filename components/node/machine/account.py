"""The user that etcd runs as."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..shared import paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import until

_BUSY_SECONDS = 10.0


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
    """The user that `prepare` created.

    Raises:
        NodeError: there is none.
    """
    account = find()
    if account is None:
        raise NodeError(f"this machine has no user {paths.USER}", "Run `pulumi up`: prepare creates it.")
    return account


def group() -> int | None:
    """ID of the group with the user's name; None if there is none."""
    try:
        return grp.getgrnam(paths.USER).gr_gid
    except KeyError:
        return None


def create() -> None:
    """Makes the user: no home, no shell, no password. Its group has the same name and is created if missing.

    Raises:
        NodeError: useradd failed, or others kept the accounts locked for 10 s.
    """
    own = ["--user-group"] if group() is None else ["--gid", paths.USER]
    place = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    command = ["useradd", "--system", *own, *place, paths.USER]
    for left in until(_BUSY_SECONDS, every=0.5):
        done = run(command, 30, check=False)
        if done.returncode == 0 or find() is not None:
            return
        # A package installation may be creating users at the same time.
        if "cannot lock" not in done.stderr or left == 0:
            break
    run(command, 30)


def check_readable(files: Sequence[str]) -> None:
    """The user, which may not exist yet, can read these files.

    Raises:
        NodeError: it cannot. With an unreadable revocation list, etcd would refuse every connection.
    """
    account = find()
    for file in files:
        path = Path(file)
        try:
            real = path.resolve(strict=True)
            if not real.is_file():
                raise NodeError(
                    f"{file}, which a flag of etcd names, is not a file", "Put one there, or remove the flag."
                )
            missing = [place for place in (*real.parents, real) if not _may(place, account, 4 if place == real else 1)]
        except OSError as error:
            raise NodeError(
                f"{file}, which a flag of etcd names, cannot be opened ({error.strerror})",
                "Put it there on every machine, or remove the flag.",
            ) from None
        if missing:
            raise NodeError(
                f"{file} cannot be read by the user {paths.USER}: {missing[0]} does not allow it",
                f"Make it readable for others, for example: chmod o+{'r' if missing[0] == real else 'x'} {missing[0]}",
            )


def _may(place: Path, account: Account | None, bit: int) -> bool:
    """Whether the user has a right, one of 4 (read) and 1 (enter), at a place."""
    found = place.stat()
    if account is not None and found.st_uid == account.uid:
        bit <<= 6
    elif account is not None and found.st_gid == account.gid:
        bit <<= 3
    return bool(found.st_mode & bit)


def delete(*, keep_group: bool) -> None:
    """Removes the user, and its group unless that must be kept (userdel removes it)."""
    number = group()
    run(["userdel", paths.USER], 30, check=False)
    if not keep_group:
        run(["groupdel", paths.USER], 30, check=False)
    elif number is not None and group() is None:
        run(["groupadd", "--gid", str(number), paths.USER], 30)

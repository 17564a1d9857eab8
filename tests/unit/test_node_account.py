"""The etcd user on machines that already have a part of it."""

import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from components.node.machine import account
from components.node.machine.account import Account
from components.node.shared.errors import NodeError


class Accounts:
    """Simulates useradd and similar programs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, group: int | None, refusals: Sequence[str] = ()) -> None:
        self.ran: list[str] = []
        self.number = group
        self.user: Account | None = None
        self._refusals = list(refusals)
        monkeypatch.setattr(account, "run", self._run)
        monkeypatch.setattr(account, "group", lambda: self.number)
        monkeypatch.setattr(account, "find", lambda: self.user)
        monkeypatch.setattr(account, "_BUSY_SECONDS", 0.2)
        monkeypatch.setattr(account, "until", lambda seconds, **_: iter((seconds, seconds / 2, 0.0)))

    def _run(self, argv: Sequence[str], _: float, *, check: bool = True) -> Any:
        self.ran.append(" ".join(argv))
        if self._refusals:
            said = self._refusals.pop(0)
            if check:
                raise NodeError(said, "")
            return subprocess.CompletedProcess(argv, 1, "", said)
        if argv[0] == "useradd":
            self.number = self.number or 990
            self.user = Account(990, self.number)
        if argv[0] in ("userdel", "groupdel"):
            self.number = None  # userdel also deletes the group with the user's name
        if argv[0] == "groupadd":
            self.number = int(argv[2])
        return subprocess.CompletedProcess(argv, 0, "", "")


def test_an_existing_group_is_used_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(monkeypatch, group=777)
    account.create()
    assert "--gid etcd" in accounts.ran[0]
    assert "--user-group" not in accounts.ran[0]
    account.delete(keep_group=True)
    assert accounts.number == 777


def test_without_a_group_user_and_group_are_created_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(monkeypatch, group=None)
    account.create()
    assert "--user-group" in accounts.ran[0]
    account.delete(keep_group=False)
    assert accounts.number is None


def test_a_locked_account_file_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = "useradd: cannot lock /etc/passwd; try again later."
    accounts = Accounts(monkeypatch, group=None, refusals=[locked])
    account.create()
    assert accounts.user is not None
    Accounts(monkeypatch, group=None, refusals=[locked] * 9)
    with pytest.raises(NodeError, match="cannot lock"):
        account.create()

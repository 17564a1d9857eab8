"""Etcd's users and roles match the configuration: with a simulated etcd, killed at any command."""

import base64
import contextlib
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.cluster import users
from components.node.protocol import etcd
from components.node.shared.errors import NodeError
from components.node.shared.spec import Spec, User
from components.plan.users import OWN_KEYS, ROOTS

from .node_support import a_spec


class KilledError(Exception):
    """The run ends here."""


class Etcd:
    """Simulates users and roles in etcd, and etcdctl's commands for them. No key counts: somebody may delete them."""

    def __init__(self) -> None:
        self.users: dict[str, set[str]] = {}
        self.roles: dict[str, dict[tuple[str, str], int]] = {}
        self.enabled = False
        self.told: list[str] = []
        """The commands that changed something."""
        self.left = 10**6
        """The number of commands before the run is killed."""
        self.kept: dict[str, User] = {}
        """Users that must have these keys all the time."""

    def __call__(self, _: Spec, __: Sequence[str], words: Sequence[str], **___: Any) -> tuple[int, Any, str]:
        if self.left == 0:
            raise KilledError
        self.left -= 1
        before = copy.deepcopy((self.users, self.roles, self.enabled))
        value = self._do(" ".join(words[:2]), list(words))
        if (self.users, self.roles, self.enabled) != before:
            self.told.append(" ".join(words))
        if self.enabled:
            assert all("root" in self.users[name] for name in ROOTS)
            for name, user in self.kept.items():
                assert self.of(name)[user.prefix] == user.permission
        return 0, value, ""

    def of(self, name: str) -> dict[str, str]:
        """Prefix -> permission of a user."""
        ranges = [pair for role in self.users[name] for pair in self.roles[role].items()]
        return {first: ("read", "write", "readwrite")[kind] for (first, _), kind in ranges}

    def _do(self, command: str, words: list[str]) -> Any:  # noqa: PLR0912  a table of commands
        name = words[2] if len(words) > 2 else ""
        rest = words[3:]
        if command == "user list":
            return {"users": sorted(self.users)} if self.users else {}
        if command == "role list":
            return {"roles": sorted(self.roles)} if self.roles else {}
        if command == "auth status":
            return {"enabled": True} if self.enabled else {}
        if command == "auth enable":
            assert "root" in self.users["root"]
            self.enabled = True
        elif command == "auth disable":
            self.enabled = False
        elif command == "user get":
            return {"roles": sorted(self.users[name])} if self.users[name] else {}
        elif command == "role get":
            return {"perm": [_row(first, end, kind) for (first, end), kind in self.roles[name].items()]}
        elif command == "role add":
            assert name not in self.roles
            self.roles[name] = {}
        elif command == "role delete":
            del self.roles[name]
            for roles in self.users.values():
                roles.discard(name)
        elif command == "role grant-permission":
            kind, prefix, flag = rest
            assert flag == "--prefix"
            self.roles[name][prefix, users.end_of(prefix)] = ("read", "write", "readwrite").index(kind)
        elif command == "role revoke-permission":
            del self.roles[name][rest[0], rest[1]]
        elif command == "user add":
            assert name not in self.users
            assert rest == ["--no-password"]
            self.users[name] = set()
        elif command == "user delete":
            del self.users[name]
        elif command == "user grant-role":
            assert rest[0] in self.roles
            self.users[name].add(rest[0])
        elif command == "user revoke-role":
            self.users[name].remove(rest[0])
        else:
            raise AssertionError(command)
        return {}


def _row(first: str, end: str, kind: int) -> dict[str, Any]:
    row: dict[str, Any] = {"key": base64.b64encode(first.encode()), "range_end": base64.b64encode(end.encode())}
    return {**row, "permType": kind} if kind else row


Wanted = Mapping[str, User] | None
_ACCESS = st.builds(User, st.sampled_from(["/a/", "/a/b/", "/z"]), st.sampled_from(["read", "write", "readwrite"]))
WANTED: st.SearchStrategy[Wanted] = st.none() | st.dictionaries(st.sampled_from(["x", "y", "z"]), _ACCESS)


def _settle(there: Etcd, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {} if wanted is None else {"users": {name: vars(user) for name, user in wanted.items()}}
    monkeypatch.setattr(etcd, "etcdctl", there)
    users.settle(a_spec(**given), ["10.99.0.11"])


def _assert_as_wanted(there: Etcd, wanted: Wanted) -> None:
    assert there.enabled == (wanted is not None)
    assert (users.MARK in there.roles) == (wanted is not None)
    assert set(there.users) - {*ROOTS, "theirs"} == set(wanted or {})
    assert {role for role in there.roles if role.startswith(OWN_KEYS)} == {OWN_KEYS + name for name in wanted or {}}
    for name, user in (wanted or {}).items():
        assert there.of(name) == {user.prefix: user.permission}


@given(st.lists(st.tuples(WANTED, st.integers(0, 40)), max_size=5), WANTED)
def test_the_next_run_completes_a_killed_one(history: list[tuple[Wanted, int]], wanted: Wanted) -> None:
    """Foreign users and roles never change; a user that is configured before and after keeps its keys all the time."""
    there = Etcd()
    there.users["theirs"], there.roles["their-role"] = {"their-role"}, {("/", "0"): 2}
    with pytest.MonkeyPatch.context() as monkeypatch:
        last: Wanted = None
        for last, commands in history:
            there.left = commands
            with contextlib.suppress(KilledError):
                _settle(there, last, monkeypatch)
                _assert_as_wanted(there, last)
        if there.left and there.enabled:
            there.kept = dict(set((last or {}).items()) & set((wanted or {}).items()))
        there.left = 10**6
        _settle(there, wanted, monkeypatch)
        _assert_as_wanted(there, wanted)
        there.told.clear()
        _settle(there, wanted, monkeypatch)
    assert there.told == []
    assert there.users["theirs"] == {"their-role"}
    assert there.roles["their-role"] == {("/", "0"): 2}


def test_without_authentication_one_request_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Etcd()
    there.users["somebody"], there.roles["root"], there.enabled = {"root"}, {}, False
    there.left = 1
    _settle(there, None, monkeypatch)
    assert there.told == []


def test_foreign_authentication_is_left_on(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Etcd()
    there.roles["root"] = {}
    there.users = {name: {"root"} for name in ROOTS}
    there.enabled = True
    _settle(there, None, monkeypatch)
    assert there.enabled


def test_authentication_is_turned_on_last_and_off_first(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Etcd()
    _settle(there, {"x": User("/a/", "read")}, monkeypatch)
    assert there.told[0] == "role add external-etcd"
    assert there.told[-1] == "auth enable"
    there.told.clear()
    _settle(there, None, monkeypatch)
    assert there.told[0] == "auth disable"
    assert there.told[-1] == "role delete external-etcd"


def test_a_foreign_user_of_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Etcd()
    there.users["x"] = set()
    with pytest.raises(NodeError, match="a user x that this program did not create") as caught:
        _settle(there, {"x": User("/a/", "read")}, monkeypatch)
    assert "etcdctl user delete x" in caught.value.remedy
    assert there.told == []
    # Also before any restart, if a member can be asked; a user of the program is not foreign.
    wanted = {"users": {"x": {"prefix": "/a/", "permission": "read"}}}
    with pytest.raises(NodeError, match="a user x that this program did not create"):
        users.refuse_taken(a_spec(**wanted), ["10.99.0.11"])
    assert not users.refuse_taken(a_spec(**wanted), []), "asked once a member can be"
    there.roles[OWN_KEYS + "x"] = {}
    assert users.refuse_taken(a_spec(**wanted), ["10.99.0.11"])


def test_root_users_match_the_planner() -> None:
    assert users.ROOTS == ROOTS

"""The permission to begin a new cluster: who gets it, and that it is good for one start."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from components.node.backup import settings as backup
from components.node.cluster import rotation
from components.node.data import directory, identity, permission
from components.node.data.identity import Identity
from components.node.machine import network
from components.node.protocol import etcd, wal
from components.node.service import certificates, maintenance, member, release, systemd
from components.node.shared import paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Bundle, Spec
from components.node.steps import begin, restart, start
from components.node.steps.next_step import Step
from components.node.upgrade import preflight
from components.node.verbs import bootstrap, converge

from .node_support import SPEC, a_member, a_spec

MEMBERS = list(SPEC["members"])


class _Machine:
    """A prepared machine, with bootstrap and the first step of converge.

    Attributes:
        rehearsed: how often it has tested the network.
        seen: what the other members answer.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        monkeypatch.setattr(paths, "STATE", place)
        monkeypatch.setattr(paths, "IDENTITY", place / "identity.json")
        monkeypatch.setattr(paths, "PERMISSION", place / "permission.json")
        monkeypatch.setattr(paths, "MEASURED", place / "measured.json")
        self.data, self.rehearsed = place / "etcd", 0
        self.seen: Mapping[str, Any] = {}
        self.spec = a_spec(data_directory=str(self.data), token="t", initial_members=MEMBERS)
        self.bare = Identity("dev", "etcd-1", str(self.data), directories_created=(str(self.data),))
        identity.save(self.bare)
        monkeypatch.setattr(etcd, "each", lambda *_: self.seen)
        monkeypatch.setattr(member, "begin", self.begin)
        monkeypatch.setattr(network, "rehearse", self._rehearse)
        monkeypatch.setattr(network, "somebody_runs", lambda _: False)
        monkeypatch.setattr(systemd, "show", lambda: systemd.Service("inactive", "", 0, 0, "", True, False, False))
        for module, name in ((certificates, "install"), (network, "end"), (network, "listen_again")):
            monkeypatch.setattr(module, name, lambda *_: None)

    def _rehearse(self, _: Spec) -> dict[str, float]:
        self.rehearsed += 1
        return {"etcd-2": 0.2}

    def begin(self, _: Spec, permitted: str) -> None:
        """Etcd starts, and creates its log."""
        assert "--initial-cluster-token=t" in permitted
        (self.data / "member" / "wal").mkdir(parents=True)

    def converges(self, **changes: Any) -> bool:
        """Whether converge begins the cluster."""
        known = identity.load()
        assert known is not None
        ours = replace(known, ca=("a",))
        spec = replace(self.spec, initial_members=(), token="-", **changes)
        return begin.begin(spec, Bundle("x", {}), known, ours)[1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Machine:
    return _Machine(monkeypatch, tmp_path)


def test_nothing_begins_without_a_permission(machine: _Machine) -> None:
    assert not machine.converges()


def test_a_permission_is_good_for_one_start(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap.bootstrap(machine.spec)
    monkeypatch.setattr(wal, "owner", lambda _: wal.Owner(member_id=1, cluster_id=77))
    assert machine.converges()
    assert not paths.PERMISSION.exists()
    # Its data are lost: not even the command itself permits a second start.
    shutil.rmtree(machine.data)
    monkeypatch.setattr(wal, "owner", lambda _: None)
    bootstrap.bootstrap(machine.spec)
    assert not machine.converges()
    # Nor does a file that is left, in a backup of the system for example.
    permission.give(machine.spec)
    assert not machine.converges()


def test_a_repeated_bootstrap_needs_no_other_machine(machine: _Machine) -> None:
    for _ in range(2):
        bootstrap.bootstrap(machine.spec)
    assert machine.rehearsed == 1
    bootstrap.bootstrap(replace(machine.spec, token="another"))
    assert machine.rehearsed == 2
    # A wrong address was corrected.
    members = {**machine.spec.members, "etcd-3": "10.99.0.99"}
    for _ in range(2):
        bootstrap.bootstrap(replace(machine.spec, token="another", members=members))
    assert machine.rehearsed == 3


def test_a_slot_that_came_later_gets_no_permission(machine: _Machine) -> None:
    bootstrap.bootstrap(replace(machine.spec, initial_members=("etcd-2", "etcd-3")))
    assert not machine.converges()


def test_a_permitted_member_joins_the_cluster_that_exists(machine: _Machine) -> None:
    bootstrap.bootstrap(machine.spec)
    machine.seen = {"etcd-2": etcd.Membership(77, (a_member(1), a_member(2)))}
    assert not machine.converges()
    # The others are silent now, and still have their cluster.
    machine.seen = {"etcd-2": etcd.SilentError("no answer")}
    assert not machine.converges()
    assert not paths.PERMISSION.exists()


def test_a_server_with_another_ca_is_in_the_way(machine: _Machine) -> None:
    bootstrap.bootstrap(machine.spec)
    machine.seen = {"etcd-2": etcd.AlienError("another CA")}
    with pytest.raises(NodeError, match="does not belong to this stack"):
        machine.converges()


def test_an_old_permission_is_not_used(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was replaced before it began, and comes back when its cluster has long existed."""
    bootstrap.bootstrap(machine.spec)
    later = time.time() + permission.DAYS * 86400 + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert not machine.converges()
    # The command itself can be repeated.
    bootstrap.bootstrap(machine.spec)
    assert machine.converges()


def test_a_member_of_a_migration_never_begins(machine: _Machine) -> None:
    """An update without the migration was interrupted before, and the stacked members do not answer now."""
    bootstrap.bootstrap(machine.spec)
    stacked = {"node-1": "10.99.0.21"}
    assert not machine.converges(members={**machine.spec.members, **stacked}, stacked=tuple(stacked))
    assert not machine.converges()


def test_a_member_that_wrote_its_log_while_it_was_stopped_keeps_it(
    machine: _Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted run has left its process. It may have voted."""
    bootstrap.bootstrap(machine.spec)
    identity.save(replace(machine.bare, ca=("a",)))
    running = systemd.Service("activating", "start", 7, 0, "", True, False, False)
    monkeypatch.setattr(systemd, "show", lambda: running)
    monkeypatch.setattr(systemd, "stop", lambda: machine.begin(machine.spec, "--initial-cluster-token=t"))
    assert not machine.converges()
    assert wal.exists(str(machine.data))


def test_a_member_that_is_not_waited_for_knows_its_machine(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """If its data are older one day than what it has confirmed, only that tells that its machine was replaced."""
    bootstrap.bootstrap(machine.spec)
    monkeypatch.setattr(wal, "owner", lambda _: wal.Owner(member_id=1, cluster_id=77))
    for module, name, answer in (
        (converge, "_identity", machine.bare),
        (converge, "_install", []),
        (converge, "look", mock.Mock(ready=False)),
        (converge, "next_step", Step.DONE),
        (converge, "wait_ready", False),
        (certificates, "authority", ["a"]),
        (certificates, "server_fingerprint", ""),
        (backup, "install", None),
        (maintenance, "settle", None),
        (member, "forbid", None),
        (member, "install_unit", None),
        (preflight, "refuse", None),
        (release, "ensure", None),
        (rotation, "refuse_too_early", None),
    ):
        monkeypatch.setattr(module, name, mock.Mock(return_value=answer))
    converge.converge(replace(machine.spec, initial_members=(), token="-"), Bundle("x", {}))
    known = identity.load()
    assert known is not None
    assert (known.machine, known.member_id, known.cluster_id) == ("x", "1", "4d")


@pytest.mark.parametrize("other", [{}, {"etcd-3": "10.99.0.99"}], ids=["without a member", "with another address"])
def test_a_cluster_begins_only_as_it_was_permitted(machine: _Machine, other: dict[str, str]) -> None:
    """Members would compute another ID of the cluster."""
    bootstrap.bootstrap(machine.spec)
    members = {**{name: machine.spec.members[name] for name in ("etcd-1", "etcd-2")}, **other}
    with pytest.raises(NodeError, match=r"bootstrapped with etcd-3 \(10.99.0.13\), which is no longer"):
        machine.converges(members=members)
    assert machine.converges()


def test_what_a_failed_first_start_left_is_moved_aside_at_once(
    machine: _Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def begin(_: Spec, __: str) -> None:
        """Etcd creates its database before its log, and ends."""
        (machine.data / "member" / "snap").mkdir(parents=True)
        raise NodeError("etcd ended instead of starting", "Remove the cause.")

    monkeypatch.setattr(member, "begin", begin)
    bootstrap.bootstrap(machine.spec)
    for _ in range(2):
        with pytest.raises(NodeError, match="etcd ended"):
            machine.converges()
        assert identity.load() == machine.bare
        directory.refuse_unknown_data(machine.spec, machine.bare)
        (aside,) = tmp_path.glob("etcd.dev-unfinished-*/member/snap")
        aside.rmdir()
        aside.parent.rmdir()
        aside.parent.parent.rmdir()
    monkeypatch.setattr(member, "begin", machine.begin)
    assert machine.converges()


@pytest.mark.parametrize(
    ("running", "started", "first"),
    [((1,), (), True), ((1, 2), (), False), ((1,), (1,), False), ((2,), (), False)],
    ids=["the first", "the second", "one that had a leader", "one that does not run"],
)
def test_only_the_first_members_of_a_new_cluster_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, running: tuple[int, ...], started: tuple[int, ...], first: bool
) -> None:
    view = etcd.Membership(77, tuple(a_member(number, started=number in started) for number in (1, 2, 3)))

    def peer_view(_: Spec, address: str, **__: object) -> etcd.Membership:
        if int(address[-1]) not in running:
            raise etcd.SilentError("no answer")
        return view

    waited: list[float] = []
    monkeypatch.setattr(etcd, "peer_view", peer_view)
    monkeypatch.setattr(member, "wait_ready", lambda _, seconds, **__: waited.append(seconds))
    monkeypatch.setattr(start, "_SERVES_SECONDS", 0.1)
    monkeypatch.setattr(start, "_others_have_expired", lambda *_: False)
    look: Any = type("Look", (), {"situation": type("Situation", (), {"quorum": None, "learns": False})})
    assert start.wait_ready(a_spec(), look) is not first
    assert bool(waited) is not first


@pytest.mark.parametrize("led", [False, True])
def test_a_member_of_a_cluster_that_had_no_leader_yet_gets_other_settings(
    monkeypatch: pytest.MonkeyPatch, led: bool
) -> None:
    """The others begin after it, or never with these settings: it must not wait for their quorum."""
    view = etcd.Membership(77, tuple(a_member(number, started=led) for number in (1, 2, 3)))
    stopped: list[bool] = []
    monkeypatch.setattr(etcd, "peer_view", lambda *_, **__: view)
    monkeypatch.setattr(systemd, "stop", lambda: stopped.append(True))
    refuses = mock.Mock(side_effect=NodeError("another minor version", "Set it back."))
    situation = mock.Mock(quorum=None, differs=("--max-txn-ops",), silence="", learns=False)
    look: Any = mock.Mock(situation=situation)
    if led:
        with pytest.raises(NodeError, match=r"--max-txn-ops\), but the cluster has no quorum .*nothing was restarted"):
            restart.restart(a_spec(), look)
    else:
        monkeypatch.setattr(preflight, "make_ready_to_start", refuses)
        with pytest.raises(NodeError, match="another minor version"):
            restart.restart(a_spec(), look)
        assert not stopped
        monkeypatch.setattr(preflight, "make_ready_to_start", lambda *_: None)
        restart.restart(a_spec(), look)
    assert stopped == [True] * (not led)

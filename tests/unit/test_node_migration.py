"""What a member checks before it joins a cluster of stacked members, and the snapshots that it keeps."""

import time
from dataclasses import replace
from typing import Any

import pytest

from components.node.cluster.quorum_rules import Voter
from components.node.data import snapshot
from components.node.protocol import etcd
from components.node.shared.errors import NodeError
from components.node.shared.spec import Spec
from components.node.steps import migration

from .node_support import SPEC, a_spec, a_status

PLANES = {"control-1": "10.99.1.11", "ip-10-99-1-12.example.internal": "10.99.1.12"}
NAMES = list(PLANES)


def joining(member: str = "etcd-1", **changes: Any) -> Spec:
    return a_spec(member=member, members={**SPEC["members"], **PLANES}, stacked=NAMES, **changes)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def keep(spec: Spec, running: str, address: str, status: etcd.Status, before: str) -> None:
        assert (running, status.version) == (spec.release.version, spec.release.version)
        assert "stacked" in before
        found.append(address)

    monkeypatch.setattr(snapshot, "keep", keep)
    monkeypatch.setattr(etcd, "clock", lambda *_: time.time())
    return found


def statuses(version: str = "3.6.16", **changes: Any) -> dict[str, etcd.Status]:
    return {name: replace(a_status(number, version=version), **changes) for number, name in enumerate(NAMES, 1)}


HEALTHY = [Voter(name) for name in NAMES]


def test_the_first_two_members_keep_a_snapshot_from_a_stacked_member(kept: list[str]) -> None:
    for member in ("etcd-1", "etcd-2", "etcd-3"):
        migration.before_join(joining(member), HEALTHY, statuses())
    assert kept == ["10.99.1.11"] * 2


def test_a_member_that_has_lost_its_data_joins_again_beside_its_stale_entry(kept: list[str]) -> None:
    migration.before_join(joining(), [*HEALTHY, Voter("etcd-1", "connection refused")], statuses())
    assert kept == ["10.99.1.11"]


@pytest.mark.parametrize(
    ("voters", "there", "said"),
    [
        ([*HEALTHY, Voter("control-3", "connection refused")], statuses(), "control-3: connection refused"),
        (HEALTHY, statuses("3.6.9"), "control-1 runs 3.6.9"),
        (HEALTHY, {}, "none of them gives its status"),
        (HEALTHY, statuses(db_size=3 << 30), "would raise the alarm NOSPACE"),
    ],
)
def test_no_member_joins_a_cluster_that_is_not_fit(
    kept: list[str], voters: list[Voter], there: dict[str, etcd.Status], said: str
) -> None:
    with pytest.raises(NodeError, match="did not join") as error:
        migration.before_join(joining(), voters, there)
    assert said in str(error.value)
    assert kept == []


@pytest.mark.parametrize(("seconds", "said"), [(40, "40 s ahead of that of control-1"), (-40, "40 s behind that of")])
def test_no_member_joins_with_another_time(
    kept: list[str], seconds: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd, "clock", lambda *_: time.time() - seconds)
    with pytest.raises(NodeError, match=f"{said}.*did not join"):
        migration.before_join(joining(), HEALTHY, statuses())
    assert kept == []


def test_a_stacked_member_is_not_managed_by_this_program() -> None:
    with pytest.raises(NodeError, match="it must be one of `members`"):
        joining("control-1")

"""An unhealthy member gets no other minor version unless its cluster allows it; no member too low a quota."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from components.node.data import snapshot
from components.node.protocol import etcd
from components.node.protocol.versions import Seen
from components.node.service import member, systemd
from components.node.shared import paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Spec
from components.node.upgrade import preflight

from .node_support import a_spec, a_status


def _wanted(version: str) -> Spec:
    return a_spec(release={"version": version, "mirror": "https://releases.example/etcd", "sha256": {}})


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A 3.6 cluster whose first member does not answer; yields the addresses of the snapshots."""
    addresses: list[str] = []
    monkeypatch.setattr(member, "version", lambda: "3.6.16")
    monkeypatch.setattr(etcd, "seen", lambda *_: Seen("3.6.16", "3.6.0", "3.6.0"))
    monkeypatch.setattr(etcd, "statuses", lambda _, found: _statuses(found))
    monkeypatch.setattr(snapshot, "keep", lambda _, __, address, ___: addresses.append(address))
    return addresses


def _statuses(found: Mapping[str, str]) -> dict[str, etcd.Status]:
    return {name: a_status(int(name[-1])) for name in found}


OTHERS = {"etcd-2": a_status(2), "etcd-3": a_status(3)}


def test_a_hanging_member_is_not_downgraded_without_the_procedure(kept: list[str]) -> None:
    with pytest.raises(NodeError, match=r"not a healthy voter, and 3\.5\.35 is another minor version"):
        preflight.make_ready(_wanted("3.5.35"), OTHERS)
    assert kept == []


def test_a_hanging_member_is_upgraded_after_a_snapshot_of_another(kept: list[str]) -> None:
    assert preflight.make_ready(_wanted("3.7.3"), OTHERS)
    assert kept == ["10.99.0.12"]


def test_a_hanging_member_with_an_unchanged_version_is_restarted(kept: list[str]) -> None:
    assert not preflight.make_ready(_wanted("3.6.16"), OTHERS)
    assert kept == []


LEAST = a_spec().quota_bytes


@pytest.mark.parametrize("runs", [True, False], ids=["it runs", "it is stopped"])
@pytest.mark.parametrize(
    ("sizes", "refused"),
    [
        ((4 << 30, LEAST + 4096), True),
        ((4 << 30, LEAST), False),
        ((LEAST, 3 << 30), False),
        ((1 << 30, 3 << 30), False),
    ],
    ids=["below the database", "as large as it", "unchanged", "higher"],
)
def test_a_quota_is_not_lowered_below_the_database_of_any_member(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runs: bool, sizes: tuple[int, int], refused: bool
) -> None:
    """Whatever the last update has measured."""
    before, used = sizes
    words = ["/opt/etcd/v3.6.16/etcd", f"--quota-backend-bytes={before}"]
    monkeypatch.setattr(paths, "INSTALLED", tmp_path / "installed.json")
    record = {"release": {"version": "3.6.16"}, "flags": {"--quota-backend-bytes": str(before)}, "quota_bytes": LEAST}
    paths.INSTALLED.write_text(json.dumps(record))
    monkeypatch.setattr(systemd, "show", lambda: systemd.Service("", "", 1, 0, "", True, False, False))
    monkeypatch.setattr(systemd, "command_of", lambda _: words if runs else [])
    monkeypatch.setattr(etcd, "statuses", lambda _, asked: {name: replace(a_status(2), db_size=used) for name in asked})
    if not refused:
        preflight.refuse(a_spec(), {})
        return
    for others, name in (({}, "etcd-1"), ({"etcd-2": "10.99.0.12"}, "etcd-[12]")):
        with pytest.raises(
            NodeError, match=rf"lowered to {LEAST} bytes, and the database of {name} has {LEAST + 4096}: etcd"
        ):
            preflight.refuse(a_spec(), others)

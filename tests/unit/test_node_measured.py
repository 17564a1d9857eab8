"""How fast a disk is: what is refused, warned of and acknowledged, and what stays on the machine."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.machine import measured
from components.node.machine.measured import Disk
from components.node.shared import paths, say
from components.node.shared.errors import NodeError
from components.node.shared.spec import Spec

from .node_support import a_spec

FAST, SLOW, TOO_SLOW = Disk(0.8, 2.4, 300), Disk(4.0, 12.5, 300), Disk(21.0, 45.0, 70)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spec]:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setattr(paths, "MEASURED", tmp_path / "measured.json")
    monkeypatch.setattr(say, "_warnings", [])
    yield a_spec(data_directory=str(tmp_path / "not" / "there"))


def _disk(monkeypatch: pytest.MonkeyPatch, disk: Disk | None) -> None:
    monkeypatch.setattr(measured, "synced_writes", lambda _: disk)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=400))
def test_at_most_one_write_in_a_hundred_takes_longer_than_p99(seconds: list[float]) -> None:
    found = measured.statistics(seconds)
    assert sum(1 for each in seconds if 1000 * each > found.p99_ms) * 100 <= len(seconds)
    assert found.p99_ms / 1000 in [pytest.approx(each) for each in seconds]
    assert found.writes == len(seconds)


def test_a_measured_directory_is_as_before(tmp_path: Path) -> None:
    found = measured.synced_writes(tmp_path)
    assert found is not None
    assert found.writes > 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_slow_at_first_is_measured_for_longer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = iter([0.03] * 5)
    monkeypatch.setattr(measured, "_SECONDS", 0.1)
    monkeypatch.setattr(measured, "_MOST", 500)
    monkeypatch.setattr(os, "fdatasync", lambda _: time.sleep(next(slow, 0.0)))
    found = measured.synced_writes(tmp_path)
    assert found is not None
    assert found.writes > 100
    assert not found.too_slow, "a burst of a neighbour has passed"


def test_a_file_system_that_takes_no_file_is_not_judged(monkeypatch: pytest.MonkeyPatch, spec: Spec) -> None:
    assert measured.synced_writes(Path("/proc")) is None
    _disk(monkeypatch, None)
    assert measured.check_disk(spec) is None


def test_a_disk_below_what_etcd_requires_is_refused(monkeypatch: pytest.MonkeyPatch, spec: Spec) -> None:
    _disk(monkeypatch, TOO_SLOW)
    with pytest.raises(
        NodeError, match=r"takes 21\.0 ms on average, p99 45\.0 ms; etcd requires at least 50"
    ) as refused:
        measured.check_disk(spec)
    assert "nothing was changed" in str(refused.value)
    assert "acknowledge: [slow-disk]" in str(refused.value)
    assert measured.record() == {}


def test_a_disk_below_what_etcd_recommends_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    _disk(monkeypatch, SLOW)
    assert measured.check_disk(spec) == SLOW
    (warning,) = say.warned()
    assert "p99 12.5 ms; etcd recommends a p99 below 10 ms" in warning
    assert warning in capsys.readouterr().err


@pytest.mark.parametrize("disk", [FAST, SLOW, TOO_SLOW])
def test_an_acknowledged_disk_is_only_mentioned(
    monkeypatch: pytest.MonkeyPatch, spec: Spec, capsys: pytest.CaptureFixture[str], disk: Disk
) -> None:
    _disk(monkeypatch, disk)
    assert measured.check_disk(replace(spec, acknowledge=("slow-disk",))) == disk
    assert say.warned() == []
    assert f"{disk.average_ms} ms on average" in capsys.readouterr().err


def test_the_machine_remembers_what_it_has_measured(spec: Spec) -> None:
    assert json.loads(measured.answer()) == {}
    measured.keep_disk(spec.data_directory, FAST)
    measured.keep_links({"etcd-2": 0.2}, asked=False)
    measured.keep_links({"etcd-3": 40.1234}, asked=True)
    known = measured.record()
    assert known["disk"] == {"directory": spec.data_directory, "average_ms": 0.8, "p99_ms": 2.4, "writes": 300}
    assert abs(known["disk_at"] - time.time()) < 60
    assert known["asked"]
    links = {"etcd-2": 0.2, "etcd-3": 40.123}
    said = {"fdatasync_average_ms": 0.8, "fdatasync_p99_ms": 2.4}
    said_of_links = {"round_trips_ms": links, "round_trips_ms_at": known["round_trips_ms_at"]}
    assert json.loads(measured.answer()) == {**said, **said_of_links}
    measured.forget_asked()
    assert measured.record() == {**known, "asked": False}

"""The prober's verdict over its records."""

import ssl
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lab.probe import Probe, Records, Report, Sight, Step, Stored, Write, judge
from lab.timeline import timeline


def _records(count: int = 4) -> Records:
    """One write every tenth of a second, all delivered by the watch."""
    records = Records(ended=count / 10)
    for number in range(1, count + 1):
        at = number / 10
        records.writes.append(Write(number, at - 0.01, at, 100 + number))
        records.events.append((at, number))
    return records


def _stored(count: int = 4) -> dict[int, Stored]:
    return {number: Stored(str(number), 100 + number, 1) for number in range(1, count + 1)}


def test_a_cluster_without_losses_is_clean() -> None:
    report = judge(_records(), _stored())
    assert report.clean
    assert report.acknowledged == report.watched == 4
    assert report.longest_gap == pytest.approx(0.1)


def test_an_acknowledged_write_that_is_missing_is_lost() -> None:
    stored = _stored()
    del stored[2]
    report = judge(_records(), stored)
    assert (report.lost, report.disordered, report.clean) == (1, 0, False)


@pytest.mark.parametrize("other", [Stored("7", 102, 1), Stored("2", 999, 1)])
def test_a_write_that_differs_from_its_acknowledgement_is_lost(other: Stored) -> None:
    assert judge(_records(), {**_stored(), 2: other}).lost == 1


def test_a_duplicated_write_is_detected() -> None:
    report = judge(_records(), {**_stored(), 2: Stored("2", 102, 2)})
    assert report.disordered == 1
    assert not report.clean


def test_reordered_writes_are_detected() -> None:
    records, stored = _records(), _stored()
    records.writes[1], records.writes[2] = Write(2, 0.19, 0.2, 103), Write(3, 0.29, 0.3, 102)
    stored[2], stored[3] = Stored("2", 103, 1), Stored("3", 102, 1)
    assert judge(records, stored).disordered == 1


def test_a_write_without_an_answer_may_be_applied_late() -> None:
    records, stored = _records(), _stored()
    records.failed.append((0.15, "timed out"))
    del records.writes[1]
    stored[2] = Stored("2", 103, 1)
    stored[3] = Stored("3", 104, 1)
    stored[4] = Stored("4", 105, 1)
    records.writes[1:] = [Write(3, 0.29, 0.3, 104), Write(4, 0.39, 0.4, 105)]
    records.events = [(0.1, 1), (0.3, 3), (0.31, 2), (0.4, 4)]
    report = judge(records, stored)
    assert report.clean
    assert (report.acknowledged, report.failed) == (3, 1)


def test_skipped_repeated_or_reordered_watch_events_are_detected() -> None:
    records = _records()
    records.events = [(0.1, 1), (0.2, 3), (0.3, 2), (0.3, 3)]
    report = judge(records, _stored())
    assert report.unwatched == 1
    assert report.watch_disordered == 2


def test_the_longest_gap_counts_from_the_start_and_to_the_end() -> None:
    records = _records()
    records.ended = 2.0
    report = judge(records, _stored())
    assert report.longest_gap == pytest.approx(1.6)
    assert report.gap_at == pytest.approx(0.4)


def test_members_down_at_the_same_time_are_counted() -> None:
    records = _records()
    records.sights = [
        Sight(0.0, "a", True, True),
        Sight(0.0, "b", True, False),
        Sight(0.1, "a", False, False),
        Sight(0.2, "a", True, False),
        Sight(0.2, "b", False, False),
        Sight(0.3, "a", False, False),
    ]
    assert judge(records, _stored()).most_down == 2


def test_every_new_term_is_a_move_of_leadership() -> None:
    records = _records()
    records.terms = [(0.0, 4), (0.1, 4), (0.2, 6), (0.3, 6)]
    assert judge(records, _stored()).leader_moves == 2


def test_each_new_step_of_an_update_is_recorded_once(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    log.write_text(
        " ~  command:remote:Command c-etcd-9-converge updating (0s) [diff: ~create]; etcd-9: of another run\n"
    )
    probe = Probe(["https://127.0.0.1:9"], ssl.create_default_context())
    probe.follow(log)
    time.sleep(0.1)  # until the first look at the file
    converge = "command:remote:Command c-etcd-1-converge"
    lines = [
        " +- pulumi:index:Stash c-change replaced (0.00s) [diff: ~input]",
        f" ~  {converge} updating (0s) [diff: ~create,stdin]",
        f" ~  {converge} updating (0s) [diff: ~create,stdin]; etcd-1: restarts for --quota-backend-bytes",
        f" ~  {converge} updating (2s) [diff: ~create,stdin]; etcd-1: up to date",
        f" ~  {converge} updated (2s) [diff: ~create,stdin]; etcd-1: up to date",
        " +  command:remote:Command c-etcd-4-converge creating (1s) etcd-4: joined as a learner",
        "    etcd-1: not a command",
    ]
    log.write_text("")
    time.sleep(0.2)
    log.write_text("\n".join(lines) + "\n ~  command:remote:Command c-etcd-2-converge upd")
    end = time.monotonic() + 5
    while len(probe.records.steps) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    assert [(step.member, step.text) for step in probe.records.steps] == [
        ("etcd-1", "restarts for --quota-backend-bytes"),
        ("etcd-1", "up to date"),
        ("etcd-4", "joined as a learner"),
    ]


def test_the_picture_is_an_svg_with_the_operations() -> None:
    records = _records()
    records.sights = [Sight(0.0, "etcd-1", True, True), Sight(0.2, "etcd-1", False, False)]
    records.marks = [(0.1, "pulumi up & more")]
    records.steps = [
        Step(0.12, "etcd-1", "restarts"),
        Step(0.14, "etcd-4", "joined <as> a learner"),
        Step(0.2, "x", "y" * 99),
    ]
    report: Report = judge(records, _stored())
    picture = ET.fromstring(timeline("A <title>", records, report))  # noqa: S314 - made here
    texts = [element.text for element in picture.iter() if element.text]
    assert {"A <title>", "pulumi up & more", "etcd-1", "etcd-4"} <= set(texts)
    assert {"1. 0.1 s etcd-1: restarts", "2. 0.1 s etcd-4: joined <as> a learner"} <= set(texts)
    assert max(map(len, texts)) < 99

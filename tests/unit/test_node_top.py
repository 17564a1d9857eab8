"""What `etcd-node top` shows of metrics, alarms and what is going on."""

import contextlib
import json
import math
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.data import identity
from components.node.protocol import etcd, metrics
from components.node.shared import files, lock, paths
from components.node.shared.errors import NodeError
from components.node.verbs import top
from tools.base import REPOSITORY

from .node_support import a_spec, raw_spec

MIB = 1 << 20
NOW = 1_800_000_000.0
BOUNDS = (0.001, 0.002, 0.004, 0.008)


def page(
    number: int = 1,
    *,
    leads: bool = False,
    learner: bool = False,
    applied: int = 100,
    fsyncs: tuple[int, ...] = (),
    started: float = NOW - 3600,
    more: str = "",
) -> str:
    """The metrics of the member etcd-<number>.

    Args:
        fsyncs: how many lasted up to each of BOUNDS, cumulative; the last one is also the number of all.
    """
    buckets = [*(f"{bound}" for bound in BOUNDS), "+Inf"]
    counts = [*fsyncs, *fsyncs[-1:]] if fsyncs else [0] * len(buckets)
    lines = [
        f'etcd_disk_wal_fsync_duration_seconds_bucket{{le="{le}"}} {n}' for le, n in zip(buckets, counts, strict=True)
    ]
    return "\n".join(
        [
            "# HELP etcd_server_has_leader Whether or not a leader exists. 1 is existence, 0 is not.",
            *lines,
            'etcd_cluster_version{cluster_version="3.6"} 1',
            f"etcd_server_has_leader {0 if 'has_leader 0' in more else 1}",
            f"etcd_server_is_leader {int(leads)}",
            f"etcd_server_is_learner {int(learner)}",
            f'etcd_server_id{{server_id="{number}"}} 1',
            'etcd_server_version{server_version="3.6.16"} 1',
            "etcd_server_proposals_committed_total 120",
            f"etcd_server_proposals_applied_total {applied}",
            "etcd_server_quota_backend_bytes 2.147483648e+09",
            f"etcd_mvcc_db_total_size_in_bytes {512 * MIB}",
            f"etcd_mvcc_db_total_size_in_use_in_bytes {128 * MIB}",
            f"etcd_mvcc_put_total {applied}",
            f"process_start_time_seconds {started}",
            *([more] if "has_leader" not in more else []),
        ]
    )


def seen(*answers: str | Exception) -> top.Watched:
    """A member that gave these answers, two seconds apart."""
    found = top.Watched()
    for number, answer in enumerate(answers):
        found.add(2.0 * number, answer)
    return found


def cells(lines: list[str], member: str) -> dict[str, str]:
    """A row of the table, by the titles of its columns."""
    head = next(line for line in lines if line.startswith("MEMBER"))
    row = next(line for line in lines if line.startswith(member)).ljust(len(head))
    found, begin = {}, 0
    for title in top._HEAD:
        at = head.index(title, begin)
        begin = at + len(title)
        found[title] = row
        if title in ("MEMBER", "ROLE", "NOW"):
            found[title] = row[at:].split("  ")[0].strip()
        else:
            # Figures end where their title ends.
            found[title] = row[:begin].split("  ")[-1].strip()
    return found


def test_the_screen_says_who_leads_how_far_behind_and_how_slow() -> None:
    watched = {
        "etcd-1": seen(page(fsyncs=(0, 0, 0, 0)), page(applied=120, fsyncs=(98, 100, 100, 100))),
        "etcd-2": seen(page(2, leads=True), page(2, leads=True, applied=120)),
        "etcd-3": seen(etcd.SilentError("connection refused")),
    }
    lines = top.screen(a_spec(), watched, top.Asked(), NOW)
    assert lines[0] == "cluster  dev, version 3.6, 2027-01-15T08:00:00Z"
    assert lines[1] == "quorum   2 of 3 voters have a leader (etcd-2), tolerates no further failure"
    assert lines[2:4] == ["alarms   none", "going on nothing"]
    one = cells(lines, "etcd-1")
    assert (one["ROLE"], one["VERSION"], one["BEHIND"], one["PUTS/s"]) == ("follower", "3.6.16", "0", "10")
    # 99 of 100 lasted at most 1.5 ms, if those between 1 and 2 ms are spread evenly.
    assert one["FSYNC p99"] == "1.5 ms"
    assert one["COMMIT p99"] == "-"
    assert (one["DATABASE"], one["IN USE"], one["OF QUOTA"]) == ("512 MiB", "25 %", "25 %")
    assert cells(lines, "etcd-2")["ROLE"] == "leader"
    assert cells(lines, "etcd-3")["NOW"] == "no answer: connection refused"


@pytest.mark.parametrize(
    ("silent", "said"),
    [(0, "tolerates 1 failure"), (1, "tolerates no further failure"), (2, "no quorum"), (3, "no quorum")],
)
def test_the_quorum_counts_voters_that_have_a_leader(silent: int, said: str) -> None:
    gone: list[str | Exception] = [etcd.SilentError("the machine cannot be reached")] * silent
    answers = [*gone, *[page(applied=120)] * (3 - silent)]
    watched = {f"etcd-{n}": seen(answer) for n, answer in enumerate(answers, 1)}
    lines = top.screen(a_spec(), watched, top.Asked(), NOW)
    assert lines[1] == f"quorum   {3 - silent} of 3 voters have a leader (none), {said}"


def test_a_learner_is_no_voter() -> None:
    watched = {"etcd-1": seen(page(leads=True)), "etcd-2": seen(page(2, learner=True, applied=20))}
    wanted = a_spec(members={"etcd-1": "10.99.0.11", "etcd-2": "10.99.0.12"})
    lines = top.screen(wanted, watched, top.Asked(), NOW)
    assert lines[1] == "quorum   1 of 1 voters have a leader (etcd-1), tolerates no further failure"
    assert (cells(lines, "etcd-2")["ROLE"], cells(lines, "etcd-2")["BEHIND"]) == ("learner", "100")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("etcd_disk_defrag_inflight 1", "defragments"),
        ("etcd_server_snapshot_apply_in_progress_total 1", "takes the leader's snapshot in"),
        ("has_leader 0", "knows no leader"),
        ("", ""),
    ],
)
def test_a_member_says_what_it_does_now(more: str, said: str) -> None:
    watched = {name: seen(page(more=more)) for name in a_spec().members}
    assert cells(top.screen(a_spec(), watched, top.Asked(), NOW), "etcd-1")["NOW"] == said


def test_a_restarted_member_begins_new_figures() -> None:
    member = seen(page(fsyncs=(0, 0, 0, 500)), page(fsyncs=(0, 0, 0, 900)))
    assert member.p99(top._FSYNC) == "8.0 ms"
    member.add(4.0, page(started=NOW - 5, fsyncs=(10, 10, 10, 10)))
    assert member.p99(top._FSYNC) == "-"
    assert top._now(member, NOW) == "started 5 s ago"
    member.add(6.0, page(started=NOW - 5, fsyncs=(20, 20, 20, 20)))
    assert member.p99(top._FSYNC) == "1.0 ms"


def test_what_is_older_than_a_minute_is_forgotten() -> None:
    member = top.Watched()
    member.add(0.0, page(fsyncs=(0, 0, 0, 0)))
    member.add(1.0, page(fsyncs=(0, 0, 0, 100)))
    for second in range(60, 180, 30):
        member.add(float(second), page(fsyncs=(second, second, second, 100 + second)))
    assert member.p99(top._FSYNC) == "1.0 ms"


def test_alarms_changes_and_silence_are_shown() -> None:
    watched = {name: seen(page()) for name in a_spec().members}
    said = top.Asked(("NOSPACE on etcd-2",), ("an operator changes the cluster: me", "this machine: `etcd-node x`"))
    lines = top.screen(a_spec(), watched, said, NOW)
    assert lines[2] == "alarms   NOSPACE on etcd-2"
    assert lines[3] == "going on an operator changes the cluster: me; this machine: `etcd-node x`"
    assert top._ALERT in "".join(line for line in top._coloured(lines, watched, said) if "NOSPACE" in line)
    assert "not known: no quorum" in top.screen(a_spec(), watched, top.Asked(silence="no quorum"), NOW)[2]


def test_nobody_is_asked_while_no_member_has_a_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question would take many seconds, and the screen would stand still."""
    monkeypatch.setattr(lock, "holder", lambda: "")
    monkeypatch.setattr(etcd, "etcdctl", lambda *_: pytest.fail("asked"))
    gone = seen(etcd.SilentError("connection refused"))
    watched = {"etcd-1": seen(page(more="has_leader 0")), "etcd-2": gone, "etcd-3": gone}
    assert top._asked(a_spec(), watched).silence == "no member has a leader"
    assert top._asked(a_spec(), dict.fromkeys(watched, gone)).silence == "no member answers"


def test_q_ends_it_also_after_other_keys_and_so_does_the_end_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        with top._terminal() as pressed:
            assert not pressed(0)
            os.write(master, b"\x1b[A")
            assert not pressed(10)
            os.write(master, b"\x1b[Bq")
            assert pressed(10)
            assert not pressed(0)
            monkeypatch.setattr(os, "read", lambda *_: b"")
            os.write(master, b"x")
            assert pressed(10)
    os.close(master)


@pytest.fixture
def drawing() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that has opened the other screen of its controlling terminal, and the terminal's far side."""
    program = (
        "import fcntl, termios; from components.node.verbs import top\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "with top._terminal() as pressed:\n    while not pressed(0.1): pass"
    )
    far, near = pty.openpty()
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdin=near, stdout=near, stderr=subprocess.PIPE, start_new_session=True, cwd=REPOSITORY, text=True
    ) as process:
        os.close(near)
        try:
            read_to(far, top._OPEN)
            yield process, far
        finally:
            process.kill()
            with contextlib.suppress(OSError):
                os.close(far)


def read_to(far: int, end: str) -> None:
    """Read what is drawn, until this comes."""
    drawn, deadline = "", time.monotonic() + 30
    while end not in drawn:
        assert select.select([far], [], [], deadline - time.monotonic())[0], drawn
        drawn += os.read(far, 1).decode()


def as_before(far: int) -> bool:
    """Whether the terminal shows what is typed and waits for whole lines."""
    return all(termios.tcgetattr(far)[3] & flag for flag in (termios.ECHO, termios.ICANON))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_gives_the_terminal_back(drawing: tuple[subprocess.Popen[str], int], number: signal.Signals) -> None:
    process, far = drawing
    process.send_signal(number)
    read_to(far, top._CLOSE)
    assert (process.wait(30), as_before(far)) == (-number, True)


def test_ctrl_z_gives_the_terminal_back_until_fg(drawing: tuple[subprocess.Popen[str], int]) -> None:
    process, far = drawing
    process.send_signal(signal.SIGTSTP)
    read_to(far, top._CLOSE)
    # The kernel does not stop a process that no shell can continue.
    read_to(far, top._OPEN)
    os.write(far, b"q")
    read_to(far, top._CLOSE)
    assert (process.wait(30), as_before(far)) == (0, True)


def test_a_closed_terminal_ends_it_without_a_message(drawing: tuple[subprocess.Popen[str], int]) -> None:
    process, far = drawing
    os.close(far)
    assert (process.communicate(timeout=30)[1], process.returncode) == ("", -signal.SIGHUP)


def test_members_come_and_go_with_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "INSTALLED", tmp_path / "installed.json")
    monkeypatch.setattr(identity, "load", lambda: None)
    with pytest.raises(NodeError, match="no member of external-etcd runs on this machine"):
        top.top(once=True)
    monkeypatch.setattr(identity, "load", object)
    monkeypatch.setattr(etcd, "metrics", lambda *_: page())
    watched: dict[str, top.Watched] = {}
    files.write(paths.INSTALLED, json.dumps(raw_spec()), 0o600)
    top._sample(watched)
    assert list(watched) == ["etcd-1", "etcd-2", "etcd-3"]
    files.write(paths.INSTALLED, json.dumps(raw_spec(members={"etcd-1": "10.99.0.11", "etcd-4": "10.99.0.14"})), 0o600)
    top._sample(watched)
    assert list(watched) == ["etcd-1", "etcd-4"]


def test_the_holder_of_the_machines_lock_is_named_while_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "LOCK", tmp_path / "lock")
    assert lock.holder() == ""
    with lock.held("converge"):
        assert lock.holder().startswith("`etcd-node converge` (pid ")
    assert lock.holder() == ""
    # What a killed process has left; no process has this number.
    paths.LOCK.write_text(json.dumps({"pid": 1 << 30, "verb": "converge", "since": "then"}))
    assert lock.holder() == ""


@given(st.lists(st.integers(0, 1000), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1), st.floats(0.01, 0.99))
def test_a_quantile_is_in_the_bucket_that_holds_it(counts: list[int], share: float) -> None:
    """`counts`: how many are in each bucket, the last of them above all bounds."""
    name = "x_seconds"
    bounds = [*BOUNDS, math.inf]
    reached = [sum(counts[: n + 1]) for n in range(len(counts))]
    later = {f'{name}_bucket{{le="{bound}"}}': float(n) for bound, n in zip(bounds, reached, strict=True)}
    found = metrics.quantile(share, {}, later, name)
    if not reached[-1]:
        assert found is None
        return
    at = next(n for n, count in enumerate(reached) if count >= share * reached[-1])
    assert found is not None
    if math.isinf(bounds[at]):
        assert found == BOUNDS[-1]
    else:
        assert (bounds[at - 1] if at else 0.0) <= found <= bounds[at]

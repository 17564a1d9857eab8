"""top: the cluster at work, on one screen that is drawn again each second, for a person on a member's machine.

Its figures are the members' own metrics. p99 is over the last minute, or since it began.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..backup import turn
from ..cluster import claim
from ..cluster.quorum_rules import quorum_of
from ..data import identity
from ..protocol import etcd, metrics
from ..shared import files, lock, paths, spec
from ..shared.errors import NodeError
from ..shared.say import size

_EVERY = 1.0
_WINDOW = 60.0
_NEW_SECONDS = 120
_FSYNC, _COMMIT = "etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds"
_ROUND_TRIP = "etcd_network_peer_round_trip_time_seconds"
_NAMES = (
    f"{_FSYNC}_bucket",
    f"{_COMMIT}_bucket",
    f"{_ROUND_TRIP}_bucket",
    "etcd_cluster_version",
    "etcd_disk_defrag_inflight",
    "etcd_mvcc_db_total_size_in",
    "etcd_mvcc_put_total",
    "etcd_server_",
    "process_start_time_seconds",
)
_HEAD = (
    *("MEMBER", "ROLE", "VERSION", "BEHIND", "FSYNC p99", "COMMIT p99", "PEERS p99"),
    *("PUTS/s", "DATABASE", "IN USE", "OF QUOTA", "NOW"),
)
# Those of text; the others are figures.
_LEFT = ("MEMBER", "ROLE", "VERSION", "NOW")
_CLEAR, _BOLD, _ALERT, _PLAIN = "\x1b[H\x1b[J", "\x1b[1m", "\x1b[1;31m", "\x1b[0m"
# The signals that end or stop it, besides Ctrl-C, which is an exception.
_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
_OPEN, _CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@dataclass
class Watched:
    """A member as it was seen in the last minute."""

    samples: deque[tuple[float, metrics.Sample]] = field(default_factory=deque)
    trouble: str = ""
    """Why it gave no answer now."""

    def add(self, now: float, answer: str | Exception) -> None:
        """Takes the newest answer in, and forgets what is older than a minute.

        Args:
            now: monotonic clock, seconds.
            answer: its metrics, or why there are none.
        """
        self.trouble = str(answer) if isinstance(answer, Exception) else ""
        if isinstance(answer, str):
            found = metrics.parse(answer, _NAMES)
            # The counters of a new process begin again.
            if self.samples and self.latest.get("process_start_time_seconds") != found.get(
                "process_start_time_seconds"
            ):
                self.samples.clear()
            self.samples.append((now, found))
        while len(self.samples) > 2 and now - self.samples[0][0] > _WINDOW:
            self.samples.popleft()

    @property
    def latest(self) -> metrics.Sample:
        """The newest sample; empty if there is none."""
        return self.samples[-1][1] if self.samples else {}

    def value(self, name: str) -> float:
        """The newest value; 0 if there is none."""
        return self.latest.get(name, 0.0)

    def p99(self, name: str) -> str:
        """In milliseconds; `-` if nothing happened in the window."""
        found = metrics.quantile(0.99, self.samples[0][1], self.latest, name) if len(self.samples) > 1 else None
        return "-" if found is None else f"{found * 1000:.1f} ms"

    def rate(self, name: str) -> str:
        """A counter's increase per second over the last two samples."""
        if len(self.samples) < 2:
            return "-"
        (begin, earlier), (end, later) = self.samples[-2], self.samples[-1]
        return f"{(later.get(name, 0.0) - earlier.get(name, 0.0)) / max(end - begin, 0.001):.0f}"


@dataclass(frozen=True)
class Asked:
    """What the quorum and this machine say beside the metrics."""

    alarms: tuple[str, ...] = ()
    doing: tuple[str, ...] = ()
    """What is going on: an operator's change, a snapshot, a verb on this machine."""
    silence: str = ""
    """Why the quorum did not answer."""


def top(*, once: bool) -> None:
    """Draws the screen until q or Ctrl-C; changes nothing and takes no lock.

    Args:
        once: only one screen, without control characters; also what happens if stdout is no terminal.

    Raises:
        NodeError: this machine holds no member that was started.
    """
    watched: dict[str, Watched] = {}
    if once or not sys.stdout.isatty():
        for wait in (_EVERY, 0.0):
            wanted = _sample(watched)
            time.sleep(wait)
        print("\n".join(screen(wanted, watched, _asked(wanted, watched), time.time())), flush=True)
        return
    with contextlib.suppress(KeyboardInterrupt), _terminal() as pressed:
        while True:
            wanted = _sample(watched)
            asked = _asked(wanted, watched)
            width = shutil.get_terminal_size().columns
            lines = [line[:width] for line in screen(wanted, watched, asked, time.time())]
            print(_CLEAR + "\r\n".join(_coloured(lines, watched, asked)), end="", flush=True)
            if pressed(_EVERY):
                return


def _sample(watched: dict[str, Watched]) -> spec.Spec:
    """Asks every member for its metrics once. The specification is read each time: members come and go."""
    known, raw = identity.load(), files.read_json(paths.INSTALLED)
    if known is None or raw is None:
        raise NodeError("no member of external-etcd runs on this machine", "Run `pulumi up` to its end.")
    wanted = spec.parse(json.dumps(raw))
    answers = etcd.each(lambda address: etcd.metrics(wanted, address), wanted.members)
    for name in [name for name in watched if name not in wanted.members]:
        del watched[name]
    for name, answer in answers.items():
        watched.setdefault(name, Watched()).add(time.monotonic(), answer)
    return wanted


def _asked(wanted: spec.Spec, watched: Mapping[str, Watched]) -> Asked:
    here = [f"this machine: {holder}"] if (holder := lock.holder()) else []
    up = {name: each for name, each in watched.items() if not each.trouble}
    reached = [wanted.members[name] for name, each in up.items() if each.value("etcd_server_has_leader")]
    # Without a leader each question would take many seconds, and the screen would stand still.
    if not reached:
        return Asked((), tuple(here), "no member has a leader" if up else "no member answers")
    try:
        names = {entry.id: entry.name for entry in etcd.member_list(wanted, reached).members}
        raised = [
            f"{kind} on {names.get(number) or format(number, 'x')}" for number, kind in etcd.alarms(wanted, reached)
        ]
        operator = claim.holder_of(wanted, reached)
        snapshot = turn.holder(wanted, reached) if wanted.backup is not None else ""
    except NodeError as error:
        return Asked((), tuple(here), error.cause)
    doing = [f"an operator changes the cluster: {operator}"] if operator is not None else []
    doing += [f"{snapshot} takes a snapshot"] if snapshot else []
    return Asked(tuple(raised), (*doing, *here))


def screen(wanted: spec.Spec, watched: Mapping[str, Watched], asked: Asked, now: float) -> list[str]:
    """The lines of the screen; pure.

    Args:
        watched: name -> every member in `wanted.members`.
        now: seconds since the epoch.
    """
    voters = [each for each in watched.values() if not each.value("etcd_server_is_learner")]
    led = [each for each in voters if not each.trouble and each.value("etcd_server_has_leader")]
    spare = len(led) - quorum_of(len(voters))
    leaders = [name for name, each in watched.items() if not each.trouble and each.value("etcd_server_is_leader")]
    if spare < 0:
        tolerates = "no quorum"
    else:
        tolerates = f"tolerates {spare} failure{'' if spare == 1 else 's'}" if spare else "tolerates no further failure"
    version = next((found for each in led if (found := metrics.label(each.latest, "etcd_cluster_version"))), "?")
    clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    head = [
        f"cluster  {wanted.cluster}, version {version}, {clock}",
        f"quorum   {len(led)} of {len(voters)} voters have a leader ({', '.join(leaders) or 'none'}), {tolerates}",
        f"alarms   {f'not known: {asked.silence}' if asked.silence else ', '.join(asked.alarms) or 'none'}",
        f"going on {'; '.join(asked.doing) or 'nothing'}",
    ]
    newest = max((each.value("etcd_server_proposals_committed_total") for each in watched.values()), default=0.0)
    rows = [_row(name, watched[name], newest, now) for name in wanted.members if name in watched]
    return [*head, "", *_table([_HEAD, *rows])]


def _row(name: str, member: Watched, newest: float, now: float) -> tuple[str, ...]:
    if member.trouble or not member.samples:
        return (name, "?", *["-"] * (len(_HEAD) - 3), f"no answer: {member.trouble}")
    used, in_use = (member.value(f"etcd_mvcc_db_total_size_in_{each}bytes") for each in ("", "use_in_"))
    quota = member.value("etcd_server_quota_backend_bytes")
    role = (
        "leader"
        if member.value("etcd_server_is_leader")
        else "learner"
        if member.value("etcd_server_is_learner")
        else "follower"
    )
    return (
        name,
        role,
        metrics.label(member.latest, "etcd_server_version"),
        f"{max(newest - member.value('etcd_server_proposals_applied_total'), 0):.0f}",
        member.p99(_FSYNC),
        member.p99(_COMMIT),
        member.p99(_ROUND_TRIP),
        member.rate("etcd_mvcc_put_total"),
        size(int(used)),
        f"{100 * in_use / max(used, 1):.0f} %",
        f"{100 * used / max(quota, 1):.0f} %",
        _now(member, now),
    )


def _now(member: Watched, now: float) -> str:
    said = []
    if not member.value("etcd_server_has_leader"):
        said.append("knows no leader")
    if member.value("etcd_disk_defrag_inflight"):
        said.append("defragments")
    if member.value("etcd_server_snapshot_apply_in_progress_total"):
        said.append("takes the leader's snapshot in")
    age = now - member.value("process_start_time_seconds")
    if age < _NEW_SECONDS:
        said.append(f"started {max(age, 0):.0f} s ago")
    return ", ".join(said)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return [
        "  ".join(
            cell.ljust(width) if title in _LEFT else cell.rjust(width) for title, cell, width in zip(_HEAD, row, widths)
        ).rstrip()
        for row in rows
    ]


def _coloured(lines: Sequence[str], watched: Mapping[str, Watched], asked: Asked) -> list[str]:
    """Red for what needs somebody, bold for the head of the table."""
    sick = {name for name, each in watched.items() if each.trouble or not each.value("etcd_server_has_leader")}

    def one(line: str) -> str:
        first = line.partition(" ")[0]
        if first in sick or (first == "alarms" and (asked.alarms or asked.silence)) or "no quorum" in line:
            return f"{_ALERT}{line}{_PLAIN}"
        return f"{_BOLD}{line}{_PLAIN}" if first == _HEAD[0] else line

    return [*(one(line) for line in lines), "", "q ends"]


@contextlib.contextmanager
def _terminal() -> Iterator[Callable[[float], bool]]:
    """The terminal's other screen, without a cursor; gives a function that waits, and tells whether q was pressed."""
    keys = sys.stdin.isatty()
    before = termios.tcgetattr(sys.stdin) if keys else None

    def pressed(seconds: float) -> bool:
        if not keys:
            time.sleep(seconds)
            return False
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        # All that was typed, and not by way of Python's buffer: `select` does not see what is left in it.
        typed = os.read(sys.stdin.fileno(), 1024) if ready else b"-"
        # Nothing to read: the terminal is gone.
        return not typed or any(key in typed for key in (b"q", b"Q", b"\x03"))

    # Past Python's buffer, which cannot be used in a signal's handler.
    def enter() -> None:
        if before is not None:
            tty.setcbreak(sys.stdin)
        os.write(sys.stdout.fileno(), _OPEN.encode())

    def leave() -> None:
        # After the end of an SSH session, the terminal is gone.
        with contextlib.suppress(OSError, termios.error):
            os.write(sys.stdout.fileno(), _CLOSE.encode())
            if before is not None:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

    def interrupted(number: int, _frame: object) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        # Only Ctrl-Z comes back, with `fg`.
        signal.signal(number, interrupted)
        enter()

    handlers = {number: signal.signal(number, interrupted) for number in _ENDS}
    try:
        enter()
        yield pressed
    finally:
        leave()
        for number, handler in handlers.items():
            signal.signal(number, handler)

"""Measures whether a cluster keeps serving during a change: with a writer, a reader, a watcher and an observer.

The writer puts numbered keys one after another, through all endpoints in turn, and records what was acknowledged.
The reader makes linearizable reads of the last acknowledged key. The watcher holds a watch on all keys. The observer
polls every member's status. At the end everything is read back and judged. Standard library only: the probe uses the
JSON gateway of etcd's API, over TLS with a client certificate.

    probe = Probe(endpoints, tls)
    probe.start()
    ...
    report = probe.finish()
"""

import base64
import contextlib
import http.client
import itertools
import json
import os
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_PAGE = 2000
# What etcd-node reports, at the end of a line of `pulumi up` about the command that runs it.
_SAID = re.compile(
    r"command:remote:Command \S+ (?:creat|updat|delet)\w+ \(.*?\)(?: \[diff: .*?\];)? "
    r"(?:etcd-node: )?(?!error)([\w.-]+): (.+)"
)
_FOLLOW_SECONDS = 0.05
_READ_BACK_SECONDS = 30.0
_PRIORITY = -10  # the same as etcd's


class ProbeError(Exception):
    """The cluster cannot be probed; the message is printed as it is."""


class _NoAnswerError(Exception):
    """A request got no valid answer; whether it was applied is unknown."""


@dataclass(frozen=True)
class Pace:
    """The intervals and timeouts of a probe."""

    request: float = 0.5
    """Seconds after which a request is given up and the next endpoint is tried."""
    connect: float = 0.15
    """Seconds after which a new connection is given up. Short, because gRPC clients connect in the background, and a
    starting member accepts connections before it answers."""
    rest: float = 0.5
    """Seconds for which a failed endpoint is avoided while there are others."""
    write: float = 0.005
    """Seconds between an acknowledgement and the next write."""
    read: float = 0.05
    """Seconds between two reads."""
    look: float = 0.1
    """Seconds between two status requests to a member."""
    silence: float = 1.0
    """Seconds without an event after which the watch is restarted at the next endpoint."""


@dataclass(frozen=True)
class Write:
    """An acknowledged write; times in seconds since the start of the probe."""

    number: int
    start: float
    end: float
    revision: int


@dataclass(frozen=True)
class Stored:
    """What was read back for a number."""

    value: str
    revision: int
    version: int
    """How often the key was written; each is written once."""


@dataclass(frozen=True)
class Step:
    """A step of an operation that a machine reported; time in seconds since the start."""

    at: float
    member: str
    text: str


@dataclass(frozen=True)
class Sight:
    """A change of a member that the observer saw; time in seconds since the start."""

    at: float
    member: str
    up: bool
    leads: bool
    version: str = ""


@dataclass(frozen=True)
class Report:
    """The verdict. Times in seconds."""

    seconds: float
    acknowledged: int
    failed: int
    """Requests without an acknowledgement in time; their outcome is unknown, and none was repeated."""
    lost: int
    """Acknowledged, but not read back with the acknowledged value and revision."""
    disordered: int
    """Acknowledged, but stored twice or in another order than acknowledged."""
    longest_gap: float
    """Longest time without an acknowledgement."""
    gap_at: float
    """When that gap began, since the start."""
    p50: float
    """Median latency of the acknowledged writes."""
    p99: float
    reads: int
    failed_reads: int
    stale_reads: int
    """Linearizable reads that missed a write acknowledged before they began."""
    longest_read_gap: float
    watched: int
    """Events that the watch delivered."""
    unwatched: int
    """Acknowledged, but never delivered by the watch."""
    watch_disordered: int
    """Events that came twice, or after a later one."""
    longest_watch_silence: float
    most_down: int
    """The most members seen down at the same time."""
    leader_moves: int
    """How often the raft term increased: an election or a leadership transfer."""

    @property
    def clean(self) -> bool:
        """Nothing lost, out of order, stale, or missing in the watch."""
        return not (self.lost or self.disordered or self.stale_reads or self.unwatched or self.watch_disordered)

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} writes acknowledged in {self.seconds:.1f} s, {self.failed} timed out; "
            f"{self.lost} lost, {self.disordered} reordered or duplicated\n"
            f"longest gap between acknowledgements {self.longest_gap * 1000:.0f} ms (at {self.gap_at:.1f} s); "
            f"writes p50 {self.p50 * 1000:.1f} ms, p99 {self.p99 * 1000:.1f} ms\n"
            f"{self.reads} linearizable reads, {self.stale_reads} stale, {self.failed_reads} timed out; "
            f"longest gap {self.longest_read_gap * 1000:.0f} ms\n"
            f"watch: {self.watched} events, {self.unwatched} missing, {self.watch_disordered} reordered or duplicated; "
            f"longest silence {self.longest_watch_silence * 1000:.0f} ms\n"
            f"members down at the same time: at most {self.most_down}; leader changes: {self.leader_moves}"
        )


def client_tls(ca: Path | str, certificate: Path | str, key: Path | str) -> ssl.SSLContext:
    """The TLS settings of a client with a certificate.

    Raises:
        ProbeError: a file is missing or invalid.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca)
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ProbeError(f"{ca}, {certificate} and {key} cannot be used: {error}.") from None
    return context


class _Line:
    """One persistent connection to one endpoint; for one thread."""

    def __init__(self, url: str, tls: ssl.SSLContext, connect: float, timeout: float) -> None:
        parts = urlsplit(url)
        self.url = url
        self._host, self._port, self._tls = parts.hostname or "", parts.port or 2379, tls
        self._connect, self._timeout = connect, timeout
        self._connection: http.client.HTTPSConnection | None = None

    def open(self, path: str, body: Mapping[str, Any]) -> http.client.HTTPResponse:
        """Send a request; the caller reads the answer."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._connect, context=self._tls
                )
                self._connection.connect()
                self._connection.sock.settimeout(self._timeout)
            self._connection.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            if response.status == http.client.OK:
                return response
            said = response.read(2000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise _NoAnswerError(f"{type(error).__name__}: {error}") from None
        raise _NoAnswerError(f"{response.status}: {said}")

    def call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the whole answer."""
        response = self.open(path, body)
        try:
            return dict(json.loads(response.read()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise _NoAnswerError(f"{type(error).__name__}: {error}") from None

    def hang_up(self) -> None:
        """End another thread's wait for an answer."""
        if self._connection is not None and self._connection.sock is not None:
            with contextlib.suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Lines:
    """All endpoints in turn, those that failed recently last; for one thread."""

    def __init__(self, urls: Sequence[str], tls: ssl.SSLContext, pace: Pace, timeout: float) -> None:
        self._lines = [_Line(url, tls, pace.connect, timeout) for url in urls]
        self._turn = itertools.count()
        self._failed = dict.fromkeys(urls, float("-inf"))
        self._rest = pace.rest

    def next(self) -> _Line:
        now, turn, count = time.monotonic(), next(self._turn), len(self._lines)
        order = [self._lines[(turn + i) % count] for i in range(count)]
        rested = [line for line in order if now - self._failed[line.url] >= self._rest]
        return rested[0] if rested else min(order, key=lambda line: self._failed[line.url])

    @contextlib.contextmanager
    def line(self) -> Iterator[_Line]:
        line = self.next()
        try:
            yield line
        except _NoAnswerError:
            self._failed[line.url] = time.monotonic()
            raise

    def call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self.line() as line:
            return line.call(path, body)

    def close(self) -> None:
        for line in self._lines:
            line.close()


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


@dataclass
class Records:
    """What the threads have recorded."""

    writes: list[Write] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    failed_reads: int = 0
    stale_reads: int = 0
    events: list[tuple[float, int]] = field(default_factory=list)
    """(time, number) in the order of their arrival."""
    sights: list[Sight] = field(default_factory=list)
    terms: list[tuple[float, int]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    ended: float = 0.0


class Probe:
    """Probes a cluster from `start` to `finish`.

    Args:
        endpoints: client URLs, https://HOST:PORT.
        tls: see `client_tls`.
        pace: intervals and timeouts.
        names: client URL -> name of that member. Default: its host.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: ssl.SSLContext,
        pace: Pace | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.endpoints = list(endpoints)
        self.records = Records()
        self._tls, self._pace = tls, pace or Pace()
        self._names = {url: (names or {}).get(url) or str(urlsplit(url).hostname) for url in self.endpoints}
        self._prefix = f"external-etcd-probe/{uuid.uuid4().hex[:8]}/"
        self._began = 0.0
        self._first_revision = 1
        self._stop, self._stop_watch = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._guarded, args=(self._write,), daemon=True)
        self._threads = [self._writer]
        self._watched: _Line | None = None
        self._broken: list[BaseException] = []
        self._end = f"{self._prefix[:-1]}0"  # the key after all that begin with the prefix: "0" follows "/"

    def start(self) -> None:
        """Begin, and return once the watch is open and the first write is acknowledged.

        Raises:
            ProbeError: the cluster does not answer within 10 s.
        """
        self._began = time.monotonic()
        lines = self._open_lines()
        try:
            answer = self._insist(lambda: lines.call("/v3/kv/range", {"key": _b64(self._prefix)}), 10)
        finally:
            lines.close()
        self._first_revision = int(answer["header"]["revision"]) + 1
        self._began = time.monotonic()
        jobs: list[Callable[[], None]] = [self._watch, self._read]
        jobs += [lambda url=url: self._look(url) for url in self.endpoints]  # type: ignore[misc]
        threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]
        self._threads += threads
        for thread in (self._writer, *threads):
            thread.start()
        while len(self.records.writes) < 1 or len(self.records.events) < 1:
            if self._now() > 10 or self._broken:
                self._halt()
                cause = self._broken[0] if self._broken else [said for _, said in self.records.failed[-1:]]
                raise ProbeError(f"No write is acknowledged and watched through {', '.join(self.endpoints)}: {cause}")
            time.sleep(0.01)

    def mark(self, text: str) -> None:
        """Record that something begins now; the picture shows it."""
        self.records.marks.append((self._now(), text))

    def follow(self, log: Path) -> None:
        """Record the steps that `pulumi up` reports in this file from now on; it may be truncated, or be missing."""
        thread = threading.Thread(target=self._guarded, args=(lambda: self._follow(log),), daemon=True)
        self._threads.append(thread)
        thread.start()

    def finish(self) -> Report:
        """End the probe, read everything back, remove it, and judge.

        Raises:
            ProbeError: the cluster does not answer, or the probe itself failed.
        """
        self._stop.set()
        self.records.ended = self._now()
        self._writer.join(5)  # its last write may still be acknowledged
        # On a busy computer the watch may lag; an event is missing only if it never comes.
        deadline = time.monotonic() + _READ_BACK_SECONDS
        while self._unwatched() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._halt()
        if self._broken:
            raise ProbeError(f"The probe itself failed: {self._broken[0]!r}") from self._broken[0]
        lines = self._open_lines(5.0)
        try:
            stored = dict(self._read_back(lines))
            self._insist(
                lambda: lines.call("/v3/kv/deleterange", {"key": _b64(self._prefix), "range_end": _b64(self._end)}),
                _READ_BACK_SECONDS,
            )
        finally:
            lines.close()
        return judge(self.records, stored)

    # --- the threads ---------------------------------------------------------------------------------------------

    def _write(self) -> None:
        lines = self._open_lines()
        for number in itertools.count(1):
            if self._stop.is_set():
                break
            start = self._now()
            try:
                answer = lines.call("/v3/kv/put", {"key": _b64(self._key(number)), "value": _b64(str(number))})
                revision = int(answer["header"]["revision"])
            except _NoAnswerError as error:
                # Never repeated: if it was applied after all, it must not count as a duplicate.
                self.records.failed.append((self._now(), str(error)))
                time.sleep(0.002)
                continue
            self.records.writes.append(Write(number, start, self._now(), revision))
            self._stop.wait(self._pace.write)
        lines.close()

    def _follow(self, log: Path) -> None:
        seen = len(log.read_text(errors="replace")) if log.exists() else 0
        last: dict[str, str] = {}
        while not self._stop.wait(_FOLLOW_SECONDS):
            text = log.read_text(errors="replace") if log.exists() else ""
            if len(text) < seen:
                seen = 0
            whole = text[seen : text.rfind("\n") + 1]
            seen += len(whole)
            for member, said in _SAID.findall(whole):
                if last.get(member) != said:
                    self.records.steps.append(Step(self._now(), member, said))
                last[member] = said

    def _read(self) -> None:
        lines = self._open_lines()
        while not self._stop.wait(self._pace.read):
            if not self.records.writes:
                continue
            last = self.records.writes[-1]
            try:
                answer = lines.call("/v3/kv/range", {"key": _b64(self._key(last.number))})
            except _NoAnswerError:
                self.records.failed_reads += 1
                continue
            self.records.reads.append(self._now())
            if not answer.get("kvs"):
                self.records.stale_reads += 1
        lines.close()

    def _watch(self) -> None:
        lines = self._open_lines(self._pace.silence)
        next_revision = self._first_revision
        while not self._stop_watch.is_set():
            try:
                with lines.line() as line:
                    self._watched = line
                    try:
                        next_revision = self._watch_on(line, next_revision)
                    finally:
                        line.close()
            except _NoAnswerError:  # noqa: PERF203 - the loop is there to try again
                time.sleep(0.01)
        lines.close()

    def _watch_on(self, line: _Line, revision: int) -> int:
        """Hold a watch until it breaks; returns the revision after the last event."""
        wanted = {
            "key": _b64(self._prefix),
            "range_end": _b64(self._end),
            "start_revision": str(revision),
            "progress_notify": True,
            "filters": ["NODELETE"],
        }
        response = line.open("/v3/watch", {"create_request": wanted})
        while not self._stop_watch.is_set():
            try:
                raw = response.readline()
                message = json.loads(raw) if raw else {"error": "the stream ended"}
            except (OSError, http.client.HTTPException, ValueError):
                return revision
            if not isinstance(message, dict) or "error" in message:
                return revision
            now = self._now()
            if compacted := message["result"].get("compact_revision"):
                # After a silence it asked for what was compacted meanwhile. What it missed counts as not delivered.
                return max(revision, int(compacted))
            for event in message["result"].get("events", []):
                self.records.events.append((now, int(_text(event["kv"]["value"]))))
                revision = int(event["kv"]["mod_revision"]) + 1
        return revision

    def _look(self, url: str) -> None:
        """Record when this member comes, goes, or begins to lead."""
        # A member that stops closes its connections. A slow one still counts as there.
        line = _Line(url, self._tls, 1.0, 3.0)
        before: Sight | None = None
        while not self._stop.is_set():
            at = self._now()
            try:
                answer = line.call("/v3/maintenance/status", {})
                leads = answer.get("leader", "0") == answer["header"]["member_id"]
                sight = Sight(at, self._names[url], True, leads, answer.get("version", ""))
                self.records.terms.append((at, int(answer["header"].get("raft_term", 0))))
            except _NoAnswerError:
                sight = Sight(at, self._names[url], False, False)
            if before is None or (sight.up, sight.leads) != (before.up, before.leads):
                self.records.sights.append(sight)
            before = sight
            self._stop.wait(self._pace.look)
        line.close()

    # --- helpers -------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:09}"

    def _open_lines(self, timeout: float | None = None) -> _Lines:
        return _Lines(self.endpoints, self._tls, self._pace, timeout or self._pace.request)

    def _guarded(self, job: Callable[[], None]) -> None:
        with contextlib.suppress(PermissionError):
            # Only this thread, if run by root: waiting for a processor would measure the computer, not the cluster.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)
        try:
            job()
        except BaseException as error:
            self._broken.append(error)

    def _halt(self) -> None:
        self._stop.set()
        self._stop_watch.set()
        if self._watched is not None:
            self._watched.hang_up()  # Otherwise it waits for the next event, of which there is none.
        for thread in self._threads:
            thread.join(5)

    def _unwatched(self) -> bool:
        return bool(self.records.writes) and self.records.writes[-1].number not in {
            number for _, number in self.records.events[-200:]
        }

    def _insist(self, ask: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return ask()
            except _NoAnswerError as error:  # noqa: PERF203 - the loop is there to try again
                if time.monotonic() > deadline:
                    raise ProbeError(
                        f"no answer within {seconds:.0f} s from {', '.join(self.endpoints)}: {error}"
                    ) from None
                time.sleep(0.1)

    def _read_back(self, lines: _Lines) -> Iterator[tuple[int, Stored]]:
        start = self._prefix

        def page() -> dict[str, Any]:
            body = {"key": _b64(start), "range_end": _b64(self._end), "limit": str(_PAGE)}
            return lines.call("/v3/kv/range", body)

        while True:
            answer = self._insist(page, _READ_BACK_SECONDS)
            rows = answer.get("kvs", [])
            for row in rows:
                key = _text(row["key"])
                yield (
                    int(key[len(self._prefix) :]),
                    Stored(_text(row.get("value", "")), int(row["mod_revision"]), int(row["version"])),
                )
                start = f"{key}\0"
            if not answer.get("more"):
                return


def judge(records: Records, stored: Mapping[int, Stored]) -> Report:
    """Judge what was recorded and what was read back; pure."""
    writes, end = records.writes, records.ended
    lost = sum(1 for each in writes if not _kept(each, stored.get(each.number)))
    revisions = [stored[each.number].revision for each in writes if each.number in stored]
    disordered = sum(1 for one, two in itertools.pairwise(revisions) if two <= one)
    disordered += sum(1 for each in stored.values() if each.version != 1)
    gap, gap_at = _longest_gap([each.end for each in writes], end)
    took = sorted(each.end - each.start for each in writes) or [0.0]
    seen: set[int] = set()
    watch_disordered, highest = 0, 0
    for _, number in records.events:
        # Writes that were given up may be applied late; only acknowledged ones have a place in the order.
        watch_disordered += number in seen
        seen.add(number)
    acknowledged = {each.number for each in writes}
    for _, number in records.events:
        if number in acknowledged:
            watch_disordered += number < highest
            highest = max(highest, number)
    return Report(
        seconds=end,
        acknowledged=len(writes),
        failed=len(records.failed),
        lost=lost,
        disordered=disordered,
        longest_gap=gap,
        gap_at=gap_at,
        p50=took[len(took) // 2],
        p99=took[int(len(took) * 0.99)],
        reads=len(records.reads),
        failed_reads=records.failed_reads,
        stale_reads=records.stale_reads,
        longest_read_gap=_longest_gap(records.reads, end)[0],
        watched=len(records.events),
        unwatched=len(acknowledged - seen),
        watch_disordered=watch_disordered,
        longest_watch_silence=_longest_gap([at for at, _ in records.events if at <= end], end)[0],
        most_down=_most_down(records.sights),
        leader_moves=max(term for _, term in records.terms) - records.terms[0][1] if records.terms else 0,
    )


def _kept(write: Write, stored: Stored | None) -> bool:
    return stored is not None and stored.value == str(write.number) and stored.revision == write.revision


def _longest_gap(times: Sequence[float], end: float) -> tuple[float, float]:
    """The longest time between two of these, or before the first or after the last, and when it began."""
    return max((two - one, one) for one, two in itertools.pairwise([0.0, *times, end]))


def _most_down(sights: Sequence[Sight]) -> int:
    down: set[str] = set()
    most = 0
    for sight in sorted(sights, key=lambda each: each.at):
        (down.discard if sight.up else down.add)(sight.member)
        most = max(most, len(down))
    return most


def as_json(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps({key: round(value, 4) for key, value in asdict(report).items()}, indent=2) + "\n"

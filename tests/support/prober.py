"""Runs the lab's prober during a test's changes."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab import Machine
from lab.probe import Pace, Probe, Report, client_tls
from lab.timeline import timeline

from .etcd import write_client_files
from .stacks import Run, Stack

PACE = Pace(request=0.25, write=0.05, read=0.1)
"""A client with shorter timeouts, so that the gap is the cluster's. It writes and reads only as often as a bound of one
second needs: three workers share two cores, and each write costs three members 4 ms of them."""
GAP_SECONDS = 1.0
"""The longest time without an acknowledgement that a planned operation may cost."""


class Probing:
    """A running probe."""

    report: Report
    """Exists once it has ended."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def mark(self, text: str) -> None:
        """Record that something begins now."""
        self._probe.mark(text)

    @property
    def downs(self) -> list[str]:
        """The members in the order in which they went down."""
        return [sight.member for sight in sorted(self._probe.records.sights, key=lambda s: s.at) if not sight.up]

    def finish(self, title: str, directory: Path) -> Report:
        """End the probe and draw its picture."""
        self.report = self._probe.finish()
        name = re.sub(r"\W+", "-", title.lower())
        (directory / f"{name}.svg").write_text(timeline(title, self._probe.records, self.report))
        print(f"{title}: {self.report}")
        return self.report


@contextlib.contextmanager
def probing(
    stack: Stack, machines: Sequence[Machine], directory: Path, title: str, gap: float = GAP_SECONDS
) -> Iterator[Probing]:
    """Probe the stack's cluster during the block; fails if the probe is not clean, or the gap is too long.

    Args:
        stack: is up; its output has the client certificate.
        machines: the members to probe.
        directory: for files. The picture goes there too, or to $PROBE_PICTURES.
        title: of the picture.
        gap: longest time without an acknowledgement, in seconds; longer if a leader dies without notice.
    """
    write_client_files(directory, stack.outputs())
    tls = client_tls(directory / "ca.crt", directory / "client.crt", directory / "client.key")
    names = {f"https://{machine.address}:2379": machine.name for machine in machines}
    probe = Probe(list(names), tls, names=names, pace=PACE)
    probe.start()
    probe.follow(stack.log)
    running = Probing(probe)
    pictures = Path(os.environ.get("PROBE_PICTURES", directory))
    try:
        yield running
    finally:
        report = running.finish(title, pictures)
    assert report.acknowledged > 0
    assert report.clean, f"{report}\n{probe.records.failed[-5:]}"
    assert report.longest_gap < gap, f"{report}\n{probe.records.failed[-5:]}"


def probed_up(
    stack: Stack, machines: Sequence[Machine], directory: Path, title: str, gap: float = GAP_SECONDS
) -> tuple[Run, Probing]:
    """`pulumi up` with a probe, whose arguments are those of `probing`; prints how long it took."""
    with probing(stack, machines, directory, title, gap) as probe:
        probe.mark("pulumi up")
        run = stack.up()
        probe.mark("done")
    print(f"{title}: {run.seconds:.1f} s")
    return run, probe

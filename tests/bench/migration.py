"""A migration of 200 MiB from stacked etcd, phase by phase, next to the same by hand with a snapshot."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Lab, Machine, kubernetes
from lab.probe import Probe, client_tls
from tests.support.api_load import Load, Report, under_load
from tests.support.machines import Machines, temporary_lab
from tests.support.prober import PACE
from tests.support.stacked import MANIFESTS, Cluster, read
from tests.support.stacks import REPO, Run, Stacks
from tests.support.waiting import every
from tools.etcd import ensure_etcd, etcd_binary

from .bare import Bare, archive, bare_script

MEBIBYTES = 200
MEMBERS = 3
REST_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
_READY_SECONDS = 180.0
_MANIFEST = f"{MANIFESTS}/kube-apiserver.yaml"
_ASIDE = "/etc/kubernetes/kube-apiserver.yaml"
_PKI = "/etc/kubernetes/pki"
_FILES = {
    "ca.crt": f"{_PKI}/etcd/ca.crt",
    "ca.key": f"{_PKI}/etcd/ca.key",
    "client.crt": f"{_PKI}/apiserver-etcd-client.crt",
    "client.key": f"{_PKI}/apiserver-etcd-client.key",
}


@dataclass(frozen=True)
class Start:
    """A stacked control plane with data, and machines for members."""

    plane: Machine
    found: list[Machine]
    directory: Path
    """With the files of `_FILES`: kubeadm's CA of etcd, and the API server's first client certificate."""

    def etcdctl(self, *arguments: str, given: bytes | None = None) -> None:
        """Run etcdctl on this computer, with the stacked member. Raises CalledProcessError."""
        place = self.directory
        command = [str(etcd_binary(kubernetes.ETCD, "etcdctl")), f"--endpoints={_url(self.plane)}"]
        files = [f"--cacert={place / 'ca.crt'}", f"--cert={place / 'client.crt'}", f"--key={place / 'client.key'}"]
        subprocess.run([*command, *files, *arguments], input=given, capture_output=True, timeout=120, check=True)

    def under_load(self, action: Callable[[Load], object]) -> Report:
        """Requests to the API server during `action`."""
        return under_load(read(self.plane, kubernetes.ADMIN), action, PATIENCE_SECONDS)

    def gap_at(self, asked: Sequence[Machine], action: Callable[[], object]) -> float:
        """Longest time without an acknowledged write of a client of these members during `action`, in seconds.

        Raises RuntimeError if a write was lost.
        """
        tls = client_tls(*(self.directory / name for name in ("ca.crt", "client.crt", "client.key")))
        probe = Probe([_url(machine) for machine in asked], tls, PACE)
        probe.start()
        try:
            action()
        finally:
            report = probe.finish()
        if not report.clean:
            raise RuntimeError(f"the cluster lost consistency: {report}")
        return report.longest_gap


def main() -> None:
    """Measure, print, write `docs/benchmark-migration.json`."""
    ensure_etcd(kubernetes.ETCD)
    with temporary_lab("bench") as lab, tempfile.TemporaryDirectory() as scratch:
        machines, place = Machines(lab), Path(scratch)
        rest, phases = _migrated(_start(machines, place / "phases"), Stacks(place))
        kubernetes.down(lab)
        by_hand = _by_hand(_start(machines, place / "by-hand"), lab)
    result = {
        "mebibytes": MEBIBYTES,
        "patience_seconds": PATIENCE_SECONDS,
        "rest_seconds": REST_SECONDS,
        "longest_gap_rest": rest.gap,
        "phases": phases,
        "by_hand": by_hand,
    }
    print(json.dumps(result, indent=2))
    (REPO / "docs" / "benchmark-migration.json").write_text(json.dumps(result, indent=2) + "\n")


def _start(machines: Machines, directory: Path) -> Start:
    found = machines.fresh(MEMBERS)
    (plane,) = kubernetes.up_stacked(machines.lab, ["control-1"])
    directory.mkdir()
    for name, path in _FILES.items():
        (directory / name).write_text(read(plane, path))
    start = Start(plane, found, directory)
    # Random: nothing on the way can compress it. Below the largest request, and not the API server's.
    with Path("/dev/urandom").open("rb") as random:
        for number in range(MEBIBYTES):
            start.etcdctl("put", f"/fill/{number}", given=random.read(1 << 20))
    return start


def _migrated(start: Start, stacks: Stacks) -> tuple[Report, list[dict[str, Any]]]:
    """The report at rest, and the figures of each phase."""
    cluster = Cluster(start.found, [start.plane], stacks.new(start.found))
    rest = start.under_load(lambda _: time.sleep(REST_SECONDS))
    # The members that are there all the time.
    asked = {"join": [start.plane], "switch": [start.plane, *start.found], "leave": start.found, "done": start.found}
    return rest, [_phase(start, cluster, name, members) for name, members in asked.items()]


def _phase(start: Start, cluster: Cluster, name: str, members: Sequence[Machine]) -> dict[str, Any]:
    runs: list[Run] = []
    direct: list[float] = []

    def change(_: Load) -> None:
        direct.append(start.gap_at(members, lambda: runs.append(cluster.phase(name))))

    during = start.under_load(change)
    row = {"phase": name, "seconds": runs[0].seconds, **_figures(during), "longest_gap_etcd": direct[0]}
    print(row, during.errors[-3:], file=sys.stderr, flush=True)
    return row


def _by_hand(start: Start, lab: Lab) -> dict[str, Any]:
    """As etcd's manual restores a cluster; everything that needs no downtime is prepared before."""
    steps: dict[str, float] = {}
    with bare_script(lab.dir, start.found) as bare:
        for name in ("ca.crt", "ca.key"):
            (bare.directory / name).write_text((start.directory / name).read_text())
        bare("install", archive(kubernetes.ETCD), start.found)

        def move(load: Load) -> None:
            steps.update(_moved(start, bare, load))

        during = start.under_load(move)
    print(steps, during, file=sys.stderr, flush=True)
    return {"seconds": sum(steps.values()), "steps": steps, **_figures(during)}


def _moved(start: Start, bare: Bare, load: Load) -> Iterator[tuple[str, float]]:
    """Each step, and the seconds that it took."""
    plane, snapshot = start.plane, start.directory / "snapshot.db"
    began = time.monotonic()

    def took() -> float:
        nonlocal began
        seconds, began = time.monotonic() - began, time.monotonic()
        return seconds

    plane.run(f"mv {_MANIFEST} {_ASIDE}; while pgrep -x kube-apiserver >/dev/null; do sleep 0.05; done", root=True)
    yield "stop the API server", took()
    start.etcdctl("snapshot", "save", str(snapshot))
    yield "etcdctl snapshot save", took()
    bare("restore", str(snapshot), start.found)
    yield "etcdutl snapshot restore on three machines, and start", took()
    servers = ",".join(map(_url, start.found))
    plane.run(f"sed -i 's|--etcd-servers=.*|--etcd-servers={servers}|' {_ASIDE} && mv {_ASIDE} {_MANIFEST}", root=True)
    for _ in every(0.05, seconds=_READY_SECONDS):
        if load.answered > began:
            yield "start the API server", took()
            return
    raise RuntimeError(f"The API server of {plane.name} does not answer after the restore.")


def _figures(during: Report) -> dict[str, float]:
    return {"longest_gap": during.gap, "failed": during.failed}


def _url(machine: Machine) -> str:
    return f"https://{machine.address}:2379"

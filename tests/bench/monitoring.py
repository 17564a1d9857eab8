"""What monitoring costs a member at rest: CPU time of a scrape, of the metrics of machines, and of a look for drift."""

import json
import re
import tempfile
import time
import urllib.request
from pathlib import Path

from lab import Machine
from tests.support.etcd import PID, PKI
from tests.support.machines import Machines, temporary_lab
from tests.support.stacks import REPO, Stacks
from tests.support.versions import DEFAULT_ETCD
from tools.etcd import ensure_etcd

RUNS = 5
SCRAPES = 200
SERVED = 100
# On one connection, as Prometheus keeps it; a scrape every 50 ms.
_SCRAPE = """
import http.client, ssl, time
context = ssl.create_default_context(cafile="{pki}/ca.crt")
context.load_cert_chain("{pki}/healthcheck-client.crt", "{pki}/healthcheck-client.key")
connection = http.client.HTTPSConnection("{host}", 2379, context=context)
for _ in range({count}):
    connection.request("GET", "/metrics", headers={{"Accept-Encoding": "gzip"}})
    assert len(connection.getresponse().read()) > 1000
    time.sleep(0.05)
"""
# Kind -> seconds between two of them: Prometheus' default, and the timers of the machine.
EVERY = {"scrape": 15, "served": 15, "metrics": 60, "drift": 3600}


def main() -> None:
    """Measure, print the table, write `docs/benchmark-monitoring.json`."""
    ensure_etcd(DEFAULT_ETCD)
    with temporary_lab("bench") as lab, tempfile.TemporaryDirectory() as scratch:
        machines = Machines(lab)
        found = machines.fresh(3)
        Stacks(Path(scratch)).new(found, prometheus=True, metrics="private").up()
        member = found[0]
        member.run("systemctl stop etcd-metrics.timer", root=True)
        seconds = {
            "scrape": _of_a_scrape(member),
            "served": _of_a_served_file(member),
            "metrics": _of_a_run(member, "etcd-node metrics >/dev/null"),
            "drift": _of_a_run(member, "etcd-node drift >/dev/null"),
        }
    rows = {
        kind: {"ms": round(1000 * each, 1), "every": EVERY[kind], "percent": round(100 * each / EVERY[kind], 3)}
        for kind, each in seconds.items()
    }
    for kind, row in rows.items():
        print(f"{kind:8} {row['ms']:7.1f} ms of CPU every {row['every']} s: {row['percent']:.3f} % of one core")
    print(f"{sum(row['percent'] for row in rows.values()):.3f} % of one core in all")
    (REPO / "docs" / "benchmark-monitoring.json").write_text(json.dumps({"runs": RUNS, "kinds": rows}, indent=2) + "\n")


def _of_a_run(machine: Machine, command: str) -> float:
    """CPU seconds of one run, user and system."""
    script = f"import os; [os.system('{command}') for _ in range({RUNS})]; print(sum(os.times()[2:4]))"
    machine.run(command, root=True)
    return float(machine.run(["python3", "-c", script], root=True).stdout) / RUNS


def _of_a_scrape(machine: Machine) -> float:
    """CPU seconds of etcd for one scrape, beyond those that it takes at rest in the same time."""
    machine.run("cat >/root/scrape.py", input=_SCRAPE.format(pki=PKI, host=machine.address, count=SCRAPES), root=True)
    busy, seconds = _with(machine, "python3 /root/scrape.py")
    idle, rest = _with(machine, f"sleep {seconds:.1f}")
    return max(busy - idle * seconds / rest, 0.0) / SCRAPES


def _of_a_served_file(machine: Machine) -> float:
    """CPU seconds of systemd and of all that it starts for one scrape of the machine's own metrics, beyond those that
    it takes at rest."""
    machine.run("systemctl start etcd-metrics", root=True)

    def usage() -> float:
        said = machine.run("awk '{print $14 + $15 + $16 + $17}' /proc/1/stat; getconf CLK_TCK", root=True).stdout
        ticks, in_a_second = map(int, said.split())
        return ticks / in_a_second

    used = []
    for port in (2382, None):
        before = usage()
        for _ in range(SERVED):
            if port:
                urllib.request.urlopen(f"http://{machine.address}:{port}/metrics", timeout=5).read()
            time.sleep(0.15)
        used.append(usage() - before)
    return max(used[0] - used[1], 0.0) / SERVED


def _with(machine: Machine, command: str) -> tuple[float, float]:
    """CPU seconds that etcd takes while the command runs, and how long that is."""
    stat = f"awk '{{print $14 + $15}}' /proc/$({PID})/stat; cut -d' ' -f1 /proc/uptime"
    said = machine.run(f"{stat}; {command}; {stat}; getconf CLK_TCK", root=True, timeout=300).stdout
    before, begin, after, end, ticks = map(float, re.findall(r"[\d.]+", said))
    return (after - before) / ticks, end - begin

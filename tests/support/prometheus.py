"""A real Prometheus on this computer, which scrapes a lab's members with what a stack puts out."""

import contextlib
import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.monitoring.prometheus import DIRECTORY
from lab import Machine
from tools.prometheus import ensure_prometheus

from .stacks import Stack
from .waiting import every

_SOON = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
"""Before a scrape configuration, so that the file is Prometheus' whole configuration. The default is a minute."""
_RELABELING = {"sourceLabels": "source_labels", "targetLabel": "target_label"}


@contextlib.contextmanager
def written(stack: Stack) -> Iterator[Path]:
    """The place of `scrape.yml` among the files of the outputs, which are put in place as on Prometheus' host."""
    with TemporaryDirectory() as folder:
        for path, text in stack.outputs()["prometheus_files"].items():
            target = Path(folder, Path(path).relative_to(DIRECTORY))
            target.parent.mkdir(exist_ok=True)
            target.write_text(text.replace(DIRECTORY, folder))
        (scrape,) = Path(folder).glob("*/scrape.yml")
        yield scrape


def rules_of(scrape: Path) -> str:
    """The part of a configuration that names the rules beside these targets."""
    return f"rule_files: [{scrape.with_name('rules.yml')}]\n"


def assert_scrapes(configuration: str, cluster: str, machines: Sequence[Machine]) -> None:
    """Fail unless a Prometheus with this scrape configuration scrapes the members on these machines, with the labels
    of the cluster, and nothing else."""
    with running(configuration) as address:
        assert_all_are_scraped(address, cluster, machines)


def assert_all_are_scraped(address: str, cluster: str, machines: Sequence[Machine]) -> None:
    """The same for the Prometheus at this address."""
    expected = {(f"etcd-{cluster}", cluster, machine.name, machine.address, "1") for machine in machines}
    for _ in every(0.2, seconds=30):
        if _rows(address, 'up{job=~"etcd-.*"}') == _rows(address, "etcd_server_has_leader") == expected:
            break
    else:
        raise AssertionError(f"{expected}, but {asked(address, 'targets')['activeTargets']}")
    # docs/monitoring.md shows it.
    command = [str(ensure_prometheus() / "promtool"), "query", "instant", f"http://{address}", "etcd_server_has_leader"]
    print(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


def as_the_operator_makes_it(objects: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """The scrape configuration that the Prometheus Operator makes of these objects, with the Secret in this folder.

    Debian's Prometheus cannot discover Endpoints. So the targets, with the meta labels that it would give them, are
    from the Endpoints themselves.
    """
    found = {each["kind"]: each for each in objects}
    selected = found["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    service = found["Service"]["metadata"]
    assert selected.items() <= service["labels"].items()
    assert service["name"] == found["Endpoints"]["metadata"]["name"]
    (endpoint,), (subset,) = found["ServiceMonitor"]["spec"]["endpoints"], found["Endpoints"]["subsets"]
    (port,) = (each["port"] for each in subset["ports"] if each["name"] == endpoint["port"])

    def file(source: Mapping[str, str]) -> str:
        assert source["name"] == found["Secret"]["metadata"]["name"]
        target = folder / source["key"]
        target.write_bytes(b64decode(found["Secret"]["data"][source["key"]]))
        return str(target)

    tls = endpoint["tlsConfig"]
    files = {"ca_file": tls["ca"]["secret"], "cert_file": tls["cert"]["secret"], "key_file": tls["keySecret"]}
    job = {
        "job_name": service["name"],
        "scheme": endpoint["scheme"],
        "tls_config": {name: file(source) for name, source in files.items()},
        "static_configs": [
            {
                "targets": [f"{address['ip']}:{port}"],
                "labels": {"__meta_kubernetes_endpoint_hostname": address["hostname"]},
            }
            for address in subset["addresses"]
        ],
        "relabel_configs": [
            {_RELABELING.get(name, name): value for name, value in rule.items()} for rule in endpoint["relabelings"]
        ],
    }
    return f"scrape_configs: {json.dumps([job])}\n"


@contextlib.contextmanager
def running(configuration: str) -> Iterator[str]:
    """Address and port of a Prometheus with this configuration, which promtool accepts. It scrapes each second."""
    programs = ensure_prometheus()
    with TemporaryDirectory() as folder, Path(folder, "log").open("w+") as log:
        file = Path(folder, "prometheus.yml")
        file.write_text(f"{_SOON}{configuration}")
        check = [str(programs / "promtool"), "check", "config", str(file)]
        checked = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        address = f"127.0.0.1:{free_port()}"
        options = [f"--config.file={file}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
        process = subprocess.Popen([str(programs / "prometheus"), *options], stdout=log, stderr=log)
        try:
            for _ in every(0.1, seconds=30):
                with contextlib.suppress(urllib.error.URLError):
                    urllib.request.urlopen(f"http://{address}/-/ready", timeout=5).close()
                    break
            else:
                log.seek(0)
                raise AssertionError(log.read())
            yield address
        finally:
            process.kill()
            process.wait()


def queried(address: str, expression: str) -> list[dict[str, Any]]:
    """The series that an expression finds now."""
    found: list[dict[str, Any]] = asked(address, f"query?{urllib.parse.urlencode({'query': expression})}")["result"]
    return found


def asked(address: str, path: str) -> Any:
    """The data of a page of Prometheus' API."""
    with urllib.request.urlopen(f"http://{address}/api/v1/{path}", timeout=10) as answer:
        return json.load(answer)["data"]


def _rows(address: str, query: str) -> set[tuple[str, ...]]:
    """Job, cluster, member, address and value of each series."""
    found = queried(address, query)
    return {
        (
            *(row["metric"].get(label, "") for label in ("job", "cluster", "member")),
            row["metric"]["instance"].rpartition(":")[0],
            row["value"][1],
        )
        for row in found
    }


def free_port() -> int:
    """A port of this computer that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])

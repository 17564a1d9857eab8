"""Prometheus' configuration and files."""

import json
from collections.abc import Mapping

from ..plan.members import url
from ..scripts import putting
from . import MACHINES_JOB, ports

DIRECTORY = "/etc/prometheus/etcd"
"""Where Prometheus finds the files, in a folder with the cluster's name."""
GROUP = "prometheus"
"""The group of these files; the packages of distributions create it."""
_SCHEME = "https"
_ABOUT = "Puts the configuration of Prometheus for an etcd cluster in place. Run it as root on Prometheus' host."


def scrape_configuration(cluster_name: str, members: Mapping[str, str], *, tls: bool) -> str:
    """A file for `scrape_config_files` (Prometheus 2.43 and later), YAML. Its list can also go to `scrape_configs`.

    Args:
        members: name -> private address.
        tls: whether Prometheus has a client certificate.
    """
    lines = ["scrape_configs:"]
    for job, port in ports(cluster_name, tls=tls).items():
        machines = job == MACHINES_JOB
        # Prometheus requires that this name is there once. It is the label `job` unless a target has one.
        lines.append(f"  - job_name: {json.dumps(f'{job}-{cluster_name}' if machines else job)}")
        if tls:
            folder = f"{DIRECTORY}/{cluster_name}"
            names = {"ca_file": "ca.crt", "cert_file": "client.crt", "key_file": "client.key"}
            lines += [f"    scheme: {_SCHEME}", "    tls_config:"]
            lines += [f"      {key}: {folder}/{name}" for key, name in names.items()]
        if machines:
            # These series have the labels `cluster` and `member` already.
            lines.append("    honor_labels: true")
        lines.append("    static_configs:")
        for name, address in members.items():
            target = url(address, port).removeprefix(f"{_SCHEME}://")
            lines += [
                f"      - targets: [{json.dumps(target)}]",
                f"        labels: {{{f'job: {job}, ' if machines else ''}cluster: {json.dumps(cluster_name)}, "
                f"member: {json.dumps(name)}}}",
            ]
    return "".join(f"{line}\n" for line in lines)


def files(
    cluster_name: str, configuration: str, rules: str, client: Mapping[str, str] | None, ca_certificate: str
) -> dict[str, str]:
    """Path on Prometheus' host -> content: `rules.yml`, `scrape.yml` and the files that it names. The last is secret.

    Args:
        configuration: result of `scrape_configuration`.
        rules: those of the cluster, YAML.
        client: `certificate` and `private_key` of Prometheus, PEM. None: it has none, and needs no CA.
        ca_certificate: etcd's CA certificate, PEM.
    """
    named = {"scrape.yml": configuration, "rules.yml": rules}
    if client is not None:
        named |= {"ca.crt": ca_certificate, "client.crt": client["certificate"], "client.key": client["private_key"]}
    return {f"{DIRECTORY}/{cluster_name}/{name}": content for name, content in named.items()}


def script(contents: Mapping[str, str]) -> str:
    """A shell script that writes the files, for root and GROUP only. Secret if they are.

    Args:
        contents: result of `files`.

    Raises:
        ValueError: a line of a file would end its here-document.
    """
    return putting(contents, dict.fromkeys(contents, "0640"), _ABOUT, GROUP)

"""Runs the blocks of docs/kubernetes.md and the README: on this computer, and on a control plane of the lab."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lab import Lab, LabError, Machine, kubernetes

from . import cluster_api
from .stacks import REPO

# The commands find the outputs in files.
_PULUMI = 'pulumi() { case "$*" in "stack output"*) cat "$3" ;; esac; }\n'
_SSH = 'ssh() { name=${1#root@}; shift; reach "$name" sudo "$@"; }\n'
_SCP = 'scp() { name=${2#root@}; reach "${name%:}" "cat >$1" <"$1"; }\n'


def in_lab(lab: Lab, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the README in the test's lab instead of `.lab`."""
    environ = {**os.environ, "LAB_DIR": str(lab.dir)}
    return subprocess.run(
        ["sh", "-c", line], cwd=REPO, env=environ, capture_output=True, text=True, timeout=600, check=False
    )


def on_this_computer(folder: Path, planes: Sequence[Machine], files: Mapping[str, str], lines: str) -> str:
    """Run lines in a folder with these files; returns what they print.

    `ssh` and `scp` to control-plane-1 and so on reach these machines, as a user with sudo instead of root.
    `$EDITOR FILE` replaces FILE with the file `edited`.
    """
    for name, text in files.items():
        (folder / name).write_text(text)
    ways = "".join(
        f'control-plane-{number}) command {shlex.join(plane.ssh_argv())} -- "$@" ;;\n'
        for number, plane in enumerate(planes, start=1)
    )
    reach = f"reach() {{\nwhere=$1; shift\ncase $where in\n{ways}*) false ;;\nesac\n}}\n"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{_PULUMI}{reach}{_SSH}{_SCP}{lines}"],
        cwd=folder,
        env={**os.environ, "EDITOR": "cp edited"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    ).stdout


class ManagementCluster:
    """A control plane as Cluster API's management cluster, without webhooks and controllers.

    Args:
        plane: a control plane with the CRDs.
        infrastructure: `aws` or `hetzner`.
        namespace: of the workload cluster, instead of the manual's.
        exported: the outputs for Cluster API; the caller can change them.
    """

    def __init__(self, plane: Machine, infrastructure: str, namespace: str, exported: dict[str, str]) -> None:
        self._plane, self._namespace, self._exported = plane, namespace, exported
        self._folder = f"/run/{infrastructure}"
        kubernetes.write(plane, f"{self._folder}/template", cluster_api.template(infrastructure))

    def run(self, lines: str) -> str:
        """Run lines of the manual; returns what they print. Then the objects must have all that is exported."""
        for name, text in self._exported.items():
            kubernetes.write(self._plane, f"{self._folder}/{name}", text)
        # Without `-w`, which never ends.
        lines = lines.replace(" -w ", " ").replace(" clusters", f" {self._namespace}")
        begin = f"set -eu; cd {self._folder}; export KUBECONFIG={kubernetes.ADMIN} HCLOUD_TOKEN=token"
        said = self._plane.run(f"{begin}\n{_PULUMI}{cluster_api.CLUSTERCTL}{lines}", root=True).stdout
        self._compare()
        return said

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """Run kubectl for the namespace."""
        command = ["kubectl", f"--kubeconfig={kubernetes.ADMIN}", f"--namespace={self._namespace}", *words]
        return self._plane.run(command, root=True, input=text).stdout

    def apply_again(self) -> None:
        """The same by server-side apply, which refuses a field that does not exist."""
        force = ("apply", "--server-side", "--force-conflicts")
        # A selector in the provider's template for AWS, which only a client-side apply leaves out.
        self._plane.run(f"sed -i 's/ matchLabels: null$/ matchLabels: {{}}/' {self._folder}/cluster.yaml", root=True)
        self.kubectl(*force, f"--kustomize={self._folder}")
        self.kubectl(*force, "--filename=-", text=self._exported["cluster_api"])
        self._compare()
        wrong = self._exported["cluster_api_control_plane"].replace('"endpoints"', '"endpoint"')
        with pytest.raises(LabError, match=r"external\.endpoint\b"):
            self.kubectl(*force, "--filename=-", text=wrong)

    def _compare(self) -> None:
        for text in self._exported.values():
            found = self.kubectl("get", "--filename=-", "--output=json", text=text)
            for there, given in zip(cluster_api.objects(found), cluster_api.objects(text), strict=True):
                assert cluster_api.holds(there, given)

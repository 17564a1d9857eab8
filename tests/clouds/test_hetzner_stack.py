"""The whole program on an emulated Hetzner Cloud whose servers boot: from the first update to nothing left."""

import copy
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.clouds import CloudMachine, HetznerCloud
from lab.engine import environment
from tests.support.machines import require_a_lab
from tests.support.stacks import REPO, Stack

UP_SECONDS = 420
FILES = ("Pulumi.yaml", "__main__.py", "components", "stacks", ".venv", "requirements.txt")
EXAMPLE = yaml.safe_load((REPO / "Pulumi.hetzner.yaml").read_text())["config"]
SLOTS = ("etcd-1", "etcd-2", "etcd-3")


@pytest.fixture(scope="module")
def cloud() -> Iterator[HetznerCloud]:
    require_a_lab()
    directory = Path(tempfile.gettempdir()) / f"external-etcd-tests-{os.getpid()}-hetzner"
    cloud = HetznerCloud(directory)
    try:
        yield cloud.start()
    finally:
        cloud.stop()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("engine"))


def hetzner_stack(cloud: HetznerCloud, engine: dict[str, str], directory: Path, **changes: Any) -> Stack:
    """The example, changed where the emulated cloud is not the real one: endpoint, token, where everybody comes from."""
    config = copy.deepcopy(EXAMPLE)
    config["external-etcd:clusterName"] = directory.name
    config["external-etcd:releaseMirror"] = "http://releases.lab"
    config["external-etcd:hetzner"] |= {"operators": [f"{cloud.public[1]}/32"], **changes}
    config |= {"hcloud:endpoint": cloud.endpoint, "hcloud:token": cloud.token, "hcloud:pollInterval": "50ms"}
    return Stack(directory, engine, config, {name: REPO / name for name in FILES}, "external-etcd")


def counts(stack: Stack) -> dict[str, int]:
    """Type -> how many resources of the cloud the state holds."""
    found: dict[str, int] = {}
    for resource in stack.export()["deployment"]["resources"]:
        if resource["type"].startswith("hcloud:"):
            kind = resource["type"].rpartition(":")[2]
            found[kind] = found.get(kind, 0) + 1
    return found


def health(machine: CloudMachine) -> list[dict[str, Any]]:
    """What etcd itself says of every member, asked on one of the machines."""
    line = (
        "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/pki/ca.crt "
        "--cert=/etc/etcd/pki/healthcheck-client.crt --key=/etc/etcd/pki/healthcheck-client.key --cluster "
        "endpoint health -w json"
    )
    return list(json.loads(machine.run(line).stdout))


def all_healthy(cloud: HetznerCloud, cluster: str) -> bool:
    return [each["health"] for each in health(cloud.machine(f"{cluster}-etcd-1"))] == [True] * 3


def left(cloud: HetznerCloud) -> list[str]:
    return [f"{kind} {name}" for kind, names in cloud.resources().items() for name in names]


def test_the_example_makes_three_healthy_members_and_destroy_leaves_nothing(
    cloud: HetznerCloud, engine: dict[str, str], tmp_path: Path
) -> None:
    stack = hetzner_stack(cloud, engine, tmp_path / "plain")

    stack.preview()
    assert left(cloud) == []
    stack.up(timeout=UP_SECONDS)
    assert counts(stack) == {
        "Network": 1,
        "NetworkSubnet": 1,
        "Firewall": 1,
        "PlacementGroup": 1,
        "SshKey": 1,
        "Server": 3,
    }
    assert all_healthy(cloud, "plain")
    outputs = stack.outputs()
    assert [member["address"] for member in outputs["members"]] == ["10.1.1.11", "10.1.1.12", "10.1.1.13"]
    assert set(outputs["server_ids"]) == set(SLOTS)

    again = stack.up("--expect-no-changes")
    assert again.code == 0
    assert stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").code == 0

    stack.destroy()
    assert left(cloud) == []
    assert cloud.machines() == []

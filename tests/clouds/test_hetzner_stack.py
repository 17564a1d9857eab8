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
TLS = (
    "--cacert=/etc/etcd/pki/ca.crt --cert=/etc/etcd/pki/healthcheck-client.crt "
    "--key=/etc/etcd/pki/healthcheck-client.key"
)


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
    """The example, changed where the emulated cloud is not the real one: endpoint, token, who the operator is."""
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
    line = f"etcdctl {TLS} endpoint health --cluster -w json"
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


def member_ids(cloud: HetznerCloud, cluster: str, asked: str = "etcd-1") -> dict[str, int]:
    line = f"etcdctl {TLS} member list -w json"
    listed = json.loads(cloud.machine(f"{cluster}-{asked}").run(line).stdout)
    return {each["name"]: each["ID"] for each in listed["members"]}


def raise_generation(stack: Stack, *slots: str, by: int = 1) -> None:
    for slot in stack.config["external-etcd:hetzner"]["slots"]:
        slot["generation"] += by if slot["name"] in slots else 0


def opens(machine: CloudMachine, address: str, port: int) -> bool:
    """Whether a TCP connection from the machine is answered."""
    code = f"import socket; socket.create_connection(('{address}', {port}), timeout=2)"
    return machine.run(["python3", "-c", code], check=False).returncode == 0


def test_data_on_a_volume_come_back_with_it_to_the_machine_that_takes_the_slot(
    cloud: HetznerCloud, engine: dict[str, str], tmp_path: Path
) -> None:
    stack = hetzner_stack(cloud, engine, tmp_path / "kept", volume={"size": 10, "protect": False})
    stack.up(timeout=UP_SECONDS)
    before, servers = member_ids(cloud, "kept"), stack.outputs()["server_ids"]
    cloud.machine("kept-etcd-1").run(f"etcdctl {TLS} put written before")

    raise_generation(stack, "etcd-1", "etcd-2")
    refused = stack.preview(check=False)
    assert refused.code != 0
    assert "One update replaces one machine of a cluster" in refused.text

    raise_generation(stack, "etcd-1", by=-1)
    # Beside it, what only a raised generation may bring to a machine.
    stack.config["external-etcd:hetzner"]["image"] = "debian-13"
    stack.up(timeout=UP_SECONDS)
    after = stack.outputs()["server_ids"]
    assert [slot for slot in SLOTS if servers[slot] != after[slot]] == ["etcd-2"]
    assert member_ids(cloud, "kept") == before

    (lost,) = [row["id"] for row in cloud.call("GET", "/servers?name=kept-etcd-3")["servers"]]
    cloud.call("DELETE", f"/servers/{lost}")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.up(timeout=UP_SECONDS)
    assert member_ids(cloud, "kept") == before
    for slot in SLOTS:
        assert "before" in cloud.machine(f"kept-{slot}").run(f"etcdctl {TLS} get written").stdout
    assert all_healthy(cloud, "kept")

    stack.destroy()
    assert left(cloud) == []


def test_machines_without_public_addresses_are_made_through_a_bastion_and_are_open_to_nobody_else(
    cloud: HetznerCloud, engine: dict[str, str], tmp_path: Path
) -> None:
    stack = hetzner_stack(cloud, engine, tmp_path / "inside", publicIpv4=False, bastion={})
    stack.up(timeout=UP_SECONDS)
    assert all_healthy(cloud, "inside")
    assert all(machine.address is None for machine in cloud.machines() if "bastion" not in machine.name)
    assert stack.up("--expect-no-changes").code == 0

    bastion, member = cloud.machine("inside-bastion"), cloud.machine("inside-etcd-1")
    found = {port: opens(bastion, "10.1.1.12", port) for port in (22, 2379, 2380)}
    assert found == {22: True, 2379: False, 2380: False}
    found = {port: opens(member, "10.1.1.12", port) for port in (22, 2379, 2380)}
    assert found == {22: False, 2379: True, 2380: True}

    stack.destroy()
    assert left(cloud) == []

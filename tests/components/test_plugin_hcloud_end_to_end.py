"""The stand-in for the plugin hcloud under the real engine: a whole program, from the first run to destroy."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_hcloud import TOKEN, FakeHcloud
from tests.support.stacks import processes_of
from tests.support.waiting import every
from tools.pulumi import ensure_pulumi

REPO = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, os
import pulumi, pulumi_hcloud as hcloud

labels = {"etcd": "true", "cluster": os.environ.get("CLUSTER", "dev")}
network = hcloud.Network("net", ip_range="10.0.0.0/16", labels=labels)
subnet = hcloud.NetworkSubnet("subnet", network_id=network.id.apply(int), type="cloud", network_zone="eu-central",
    ip_range="10.0.1.0/24")
key = hcloud.SshKey("key",
    public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7vYbrmQ1nq0S9RzJc8mZt1o5yC2oB0sVYkq8nKqQxA a\\n")
group = hcloud.PlacementGroup("group", type="spread", labels=labels)
firewall = hcloud.Firewall("wall", labels=labels, rules=[
    {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["192.0.2.1", "2001:db8::/32"]},
    {"direction": "in", "protocol": "icmp", "source_ips": ["0.0.0.0/0"]},
])
servers = []
for number in range(3):
    servers.append(hcloud.Server(f"etcd-{number + 1}", name=f"etcd-{number + 1}", server_type="cx23",
        image=os.environ.get("IMAGE", "debian-12"), location="fsn1", ssh_keys=[key.id], user_data="#cloud-config\\n",
        placement_group_id=group.id.apply(int), labels=labels,
        firewall_ids=[firewall.id.apply(int)] if number == 0 else [],
        public_nets=[{"ipv4_enabled": number == 0, "ipv6_enabled": False}],
        networks=[{"subnet_id": subnet.id, "ip": f"10.0.1.1{number + 1}"}]))
volume = hcloud.Volume("data", size=int(os.environ.get("SIZE", "10")), location="fsn1", labels=labels)
hcloud.VolumeAttachment("data", volume_id=volume.id.apply(int), server_id=servers[0].id.apply(int))
pulumi.export("ids", [server.id for server in servers])
pulumi.export("addresses", [server.networks[0].ip for server in servers])
pulumi.export("public", servers[0].ipv4_address)
pulumi.export("device", volume.linux_device)
pulumi.export("subnet", subnet.id)
"""


class Project:
    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        (folder / "state").mkdir()
        (folder / "Pulumi.yaml").write_text("name: hetzner\nruntime: python\n")
        (folder / "__main__.py").write_text(PROGRAM)
        path = [str(REPO / "lab/plugins/bin"), str(ensure_pulumi()), str(REPO / ".venv/bin"), os.environ["PATH"]]
        self.environ = {
            **os.environ,
            "PATH": os.pathsep.join(path),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            # Otherwise the CLI looks for the plugins of every package in the virtual environment, on the network.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        self.pulumi("stack", "init", "dev")
        self.pulumi("config", "set", "hcloud:endpoint", endpoint)
        self.pulumi("config", "set", "hcloud:pollInterval", "5ms")
        self.pulumi("config", "set", "--secret", "hcloud:token", TOKEN)

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts it in a session of its own; whoever asks ends it."""
        command = ["pulumi", "--non-interactive", *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environ, start_new_session=True)

    def pulumi(self, *arguments: str, fails: bool = False, **environ: str) -> str:
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color=never", *arguments],
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        text = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, text
        return text if fails or arguments[0] != "stack" else done.stdout

    def up(self, *arguments: str, **environ: str) -> dict[str, Any]:
        self.pulumi("up", "--yes", "--skip-preview", *arguments, fails=False, **environ)
        outputs: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json"))
        return outputs


@pytest.fixture
def cloud() -> Iterator[FakeHcloud]:
    fake = FakeHcloud()
    yield fake
    fake.close()


@pytest.fixture
def project(cloud: FakeHcloud, tmp_path: Path) -> Project:
    return Project(tmp_path, cloud.endpoint)


def test_a_program_with_a_network_and_three_servers_lives_its_whole_life(cloud: FakeHcloud, project: Project) -> None:
    project.pulumi("preview")
    assert cloud.requests == []

    first = project.up()
    assert {kind: len(names) for kind, names in cloud.left().items()} == {
        "networks": 1,
        "ssh_keys": 1,
        "placement_groups": 1,
        "firewalls": 1,
        "servers": 3,
        "volumes": 1,
    }
    assert first["addresses"] == ["10.0.1.11", "10.0.1.12", "10.0.1.13"]
    assert first["public"].startswith("203.0.113.")
    assert first["device"] == f"/dev/disk/by-id/scsi-0HC_Volume_{cloud.one('volumes')['id']}"
    assert first["subnet"] == f"{cloud.one('networks')['id']}-10.0.1.0/24"
    assert all(server["status"] == "running" for server in cloud.servers())

    made = len(cloud.requests)
    project.pulumi("preview", "--expect-no-changes")
    project.up("--expect-no-changes")
    project.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    project.up("--expect-no-changes")
    assert len(cloud.requests) == made

    changed = project.up(CLUSTER="prod", SIZE="20")
    assert changed == first
    assert [server["labels"]["cluster"] for server in cloud.servers()] == ["prod"] * 3
    assert cloud.one("volumes")["size"] == 20

    replaced = project.up(CLUSTER="prod", SIZE="20", IMAGE="ubuntu-24.04")
    assert not set(replaced["ids"]) & set(first["ids"])
    assert replaced["addresses"] == first["addresses"]
    assert cloud.one("volumes")["server"] == int(replaced["ids"][0])

    assert TOKEN not in project.pulumi("stack", "export")
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert cloud.left() == {}


def test_a_server_that_was_deleted_behind_our_back_comes_back(cloud: FakeHcloud, project: Project) -> None:
    first = project.up()
    lost = int(first["ids"][0])
    del cloud.rows["servers"][lost]
    cloud.one("volumes")["server"] = None
    for firewall in cloud.rows["firewalls"].values():
        firewall["applied_to"] = []
    project.pulumi("preview", "--expect-no-changes")
    project.pulumi("refresh", "--yes", "--skip-preview")
    second = project.up()
    assert second["addresses"] == first["addresses"]
    assert second["ids"][1:] == first["ids"][1:]
    assert cloud.one("volumes")["server"] == int(second["ids"][0]) != lost
    for server in cloud.servers():
        server["labels"] = {}
    assert "~labels" in project.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert all(server["labels"] for server in cloud.servers())
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert cloud.left() == {}


def test_a_server_that_did_not_get_ready_is_finished_by_the_next_run(cloud: FakeHcloud, project: Project) -> None:
    cloud.refuse("POST servers/[0-9]+/actions/attach_to_network", "ip_not_available", times=3)
    text = project.pulumi("up", "--yes", "--skip-preview", fails=True)
    assert "no (ip_not_available; POST servers/" in text
    made = set(cloud.rows["servers"])
    cloud.refusals.clear()  # of those that were not begun any more
    again = project.up()
    assert made
    assert made <= set(cloud.rows["servers"]) == set(map(int, again["ids"]))
    assert [len(server["private_net"]) for server in cloud.servers()] == [1, 1, 1]
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert cloud.left() == {}


def test_a_server_whose_making_was_killed_has_its_name_and_is_made_anew_when_it_was_deleted(
    cloud: FakeHcloud, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/hetzner.md says."""
    polled = cloud.polled
    held = {"create_server", "attach_to_network"}

    def goes_on(action: dict[str, Any]) -> dict[str, Any]:
        return {**action, "status": "running"} if action["command"] in held else polled(action)

    monkeypatch.setattr(cloud, "polled", goes_on)
    running = project.begin("up", "--yes", "--skip-preview")
    assert any(len(cloud.rows["servers"]) == 3 for _ in every(0.05, seconds=60))
    running.kill()
    for process in processes_of(running.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    running.wait(30)
    monkeypatch.undo()
    project.pulumi("cancel", "--yes")
    assert "uniqueness_error" in project.pulumi("up", "--yes", "--skip-preview", fails=True)
    cloud.rows["servers"].clear()
    assert len(project.up()["ids"]) == 3
    project.pulumi("destroy", "--yes", "--skip-preview")


def test_a_wrong_property_fails_in_the_preview(cloud: FakeHcloud, project: Project) -> None:
    program = project.folder / "__main__.py"
    program.write_text(PROGRAM.replace('network_zone="eu-central",', "network_zone=7,"))
    assert "networkZone" in (text := project.pulumi("preview", fails=True))
    assert "must be a string, and a number was given" in text
    assert cloud.requests == []


def test_a_network_is_imported_by_its_id_and_looked_up_by_its_id(cloud: FakeHcloud, project: Project) -> None:
    cloud.create("networks", {"name": "old", "ip_range": "10.1.0.0/16", "labels": {"a": "b"}})
    number = cloud.one("networks")["id"]
    (project.folder / "__main__.py").write_text(f"""
import pulumi, pulumi_hcloud as hcloud
adopted = hcloud.Network("net", name="old", ip_range="10.1.0.0/16", labels={{"a": "b"}},
    opts=pulumi.ResourceOptions(import_="{number}"))
pulumi.export("range", hcloud.Network.get("seen", "{number}").ip_range)
""")
    assert project.up() == {"range": "10.1.0.0/16"}
    assert cloud.requests == []
    project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert cloud.left() == {}

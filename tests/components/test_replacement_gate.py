"""The gates of machines with the real engine: they run before any replacement that includes their machines."""

from pathlib import Path

from tests.support.sshd import Sshd, new_key
from tests.support.stacks import REPO, Stacks

SLOTS = ("etcd-1", "etcd-2", "etcd-3")
PROGRAM = f"""
import pulumi
from pulumi_command import remote
from components.replacement_gate import gates
from components.machine import connection

ssh = pulumi.Config().require_object("ssh")


def thing(name, **options):
    # As a network or a server is: another network is another server, and there is no room for both.
    return remote.Command(name, connection=connection(ssh), create="true", delete="echo deleted " + name,
        add_previous_output_in_env=False, opts=pulumi.ResourceOptions(delete_before_replace=True), **options)


network = thing("network")
slots = {SLOTS}
servers = {{slot: thing(slot, triggers=[network.id]) for slot in slots}}
kept = {{slot: pulumi.Stash(slot, input=slot) for slot in slots}}
machines = [{{"name": slot, "address": "192.0.2.1", "ssh": ssh}} for slot in slots]
gates("dev", machines, {{slot: [server, network] for slot, server in servers.items()}}, kept,
    pulumi.ComponentResource("gates:index:Parent", "parent"))
"""


def test_a_network_replacement_asks_every_machines_gate_first(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / "Pulumi.yaml").write_text("name: gates\nruntime: python\n")
    files = {name: tmp_path / name for name in ("Pulumi.yaml", "__main__.py")}
    files |= {name: REPO / name for name in ("components", ".venv")}
    private, public = new_key()
    with Sshd(user_keys=[public]) as sshd:
        ssh = {"host": "127.0.0.1", "port": sshd.port, "private_key": private, "host_key": sshd.host_key}
        stack = Stacks(tmp_path / "stacks").of_project("gates", files, {"ssh": ssh})
        stack.up()
        run = stack.up("--replace", "**Command::network", check=False)
        assert run.code != 0
        # This computer has no etcd-node to confirm it.
        assert "cannot tell whether the cluster tolerates the loss" in run.text
        stack.up("--expect-no-changes")
        assert not any(command.startswith("echo deleted") for command in sshd.commands)
        stack.destroy()
        assert sum(command.startswith("echo deleted") for command in sshd.commands) == 1 + len(SLOTS)

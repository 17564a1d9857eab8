"""Unusual logins and machines: shells that print, a Python with another name, a damaged program."""

import json
from pathlib import Path

import pytest

from components import bundle
from tests.support.etcd import assert_serves_all_members, command_line, process_ids
from tests.support.machines import Machines, turned_away
from tests.support.ssh_agent import agent
from tests.support.stacks import Stacks, machine_config

_PRINTS = "sed -i '1i echo hello from bashrc; printf no-line' ~/.bashrc"
_EMPTY = "for file in $(find /usr/local/lib/etcd-node -name __main__.py); do : >$file; done"


_CHANNELS = (
    "echo ChannelTimeout direct-tcpip=10 >/etc/ssh/sshd_config.d/channels.conf; "
    "/usr/sbin/sshd -t && systemctl reload ssh"
)


_INTERNAL = (
    "sed -i 's|^Subsystem.*|Subsystem sftp internal-sftp|' /etc/ssh/sshd_config; "
    "/usr/sbin/sshd -t && systemctl reload ssh"
)
_NO_SFTP = "sed -i '/^Subsystem/d' /etc/ssh/sshd_config; /usr/sbin/sshd -t && systemctl reload ssh"
_STRICT = "echo MaxStartups 3:100:3 >/etc/ssh/sshd_config.d/startups.conf; /usr/sbin/sshd -t && systemctl reload ssh"


def test_unusual_logins_work_and_a_damaged_program_fails(machines: Machines, stacks: Stacks, tmp_path: Path) -> None:
    """Shells that print, a machine without SFTP, a dead agent, a Python with another name; then keys in an agent."""
    found = machines.fresh(3)
    found[0].run(_PRINTS)
    found[0].run(_INTERNAL, root=True)
    found[1].run(_NO_SFTP, root=True)
    found[1].run("mv /usr/bin/python3 /usr/bin/python3.gone", root=True)
    found[2].run(_PRINTS)
    stack = stacks.new(found)
    stack.environ["SSH_AUTH_SOCK"] = str(tmp_path / "gone" / "agent")
    before = [turned_away(machine) for machine in found]
    run = stack.up()
    assert [turned_away(machine) for machine in found] == before, "no failed logins, which fail2ban would punish"
    assert "hello from bashrc" not in run.text
    assert [row["name"] for row in stack.outputs()["members"]] == [machine.name for machine in found]
    ran = process_ids(found)
    # The state of such a member has the program, as input and output of one command; that of others has not.
    sizes = {
        each["urn"].rpartition("-etcd-")[2]: len(json.dumps(each)) for each in stack.export()["deployment"]["resources"]
    }
    assert {name for name, size in sizes.items() if size > len(bundle.program())} == {"2-prepare", "3-prepare"}, sizes
    assert [name for name in sizes if name.endswith("-program")] == ["1-program"]
    stack.preview("--expect-no-changes")

    # Two operators have agents with the key; a change of operator is no change of the stack. All connections use one
    # bastion, which accepts as many at once as there are members.
    found[2].run(_STRICT, root=True)
    for entry in stack.config["machines"]:
        del entry["ssh"]["privateKeyFile"]
    bastion = {"host": found[2].address, "user": "operator", "hostKey": found[2].host_key}
    stack.config["ssh"] = {"agent": True, "bastion": bastion}
    before = [turned_away(machine) for machine in found]
    refused = stack.up(check=False)
    assert refused.code != 0
    assert "no agent answers at" in refused.text
    for operator, arguments in (("alice", ()), ("bob", ("--expect-no-changes",))):
        (tmp_path / operator).mkdir()
        with agent(tmp_path / operator, found[0].key_file.read_text()) as path:
            stack.environ["SSH_AUTH_SOCK"] = str(path)
            stack.up(*arguments)
    assert process_ids(found) == ran
    assert [turned_away(machine) for machine in found] == before

    # As after a power cut.
    found[1].run(_EMPTY, root=True)
    stack.config["flags"] = {"max-txn-ops": "256"}
    with agent(tmp_path, found[0].key_file.read_text()) as path:
        stack.environ["SSH_AUTH_SOCK"] = str(path)
        run = stack.up(check=False)
    assert run.code != 0
    assert "etcd-2: ended without an answer" in run.text
    after = process_ids(found)
    assert [after[name] == ran[name] for name in ("etcd-1", "etcd-2", "etcd-3")] == [False, True, True]
    assert "--max-txn-ops" not in command_line(found[1])
    assert_serves_all_members(found)


@pytest.mark.parametrize("with_bastion", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["alone", "both"])
def test_a_machine_that_dies_behind_a_bastion_ends_the_run(
    machines: Machines, stacks: Stacks, with_bastion: bool
) -> None:
    """The bastion's sshd is configured like a created bastion's, with a shorter timeout.

    If the bastion dies too, this computer gives the connection up after 150 s.
    """
    machine, bastion = machines.fresh(2)
    bastion.run(_CHANNELS, root=True)
    way = {"host": bastion.address, "user": "operator", "hostKey": bastion.host_key}
    stack = stacks.new([machine], machines=[machine_config(machine, bastion=way)])
    machine.run("systemd-run --unit=busy flock /run/etcd-node.lock sleep infinity", root=True)
    running = stack.begin_up()
    try:
        running.until_said("waits up to 120 s for")
        # After a power cut in the lab, connections are still closed, because the kernel is this computer's.
        machines.lab.isolate(machine.name)
        if with_bastion:
            machines.lab.isolate(bastion.name, host_too=True)
        run = running.wait(210 if with_bastion else 60)
    finally:
        running.kill()
    assert run.code != 0
    assert "exited without exit status" in run.text
    machine.run("systemctl stop busy", root=True)
    machines.lab.heal(machine.name, bastion.name)
    stack.up()

"""Single machines of a lab: boot, ssh, shutdown, power cuts, wipes, partitions."""

import json
import time
from pathlib import Path

import pytest

from lab import LabError, Machine
from tests.support.clouds import reaches
from tests.support.labs import command
from tests.support.machines import Machines, fill_disk, right_clock, skew_clock


@pytest.fixture(scope="module")
def made(machines: Machines) -> None:
    machines.fresh(3)


@pytest.fixture
def three(made: None, machines: Machines) -> list[Machine]:
    """Three running, connected machines, with the disks that earlier tests left."""
    found = machines.lab.up(3)
    machines.lab.heal(*[machine.name for machine in found])
    return found


def test_a_machine_is_a_complete_debian_that_knows_the_others(three: list[Machine]) -> None:
    first, second, _ = three
    assert first.run("hostname").stdout == "etcd-1\n"
    assert first.run("sudo -n id -u").stdout == "0\n"
    assert first.run("whoami", root=True).stdout == "root\n", "on the console"
    assert first.run("ps -p 1 -o comm=").stdout == "systemd\n"
    assert first.run("systemctl is-system-running --wait").stdout == "running\n"
    assert first.run("getent hosts etcd-2").stdout.split() == [second.address, "etcd-2"]
    assert first.run("cat; echo $0", input="text\n").stdout.startswith("text\n")
    assert first.run(["printf", "%s", "a b; $HOME"]).stdout == "a b; $HOME"
    assert first.run("ip route show default").stdout == "", "a machine has no route out"


def test_machines_do_not_share_their_cgroups(three: list[Machine]) -> None:
    first, second, _ = three
    for machine in (first, second):
        machine.run(f"systemd-run --unit only-{machine.name} sleep 60", root=True)
    seen = first.run("find /sys/fs/cgroup -name 'only-*'", root=True).stdout
    assert "only-etcd-1" in seen
    assert "only-etcd-2" not in seen


def test_the_machines_file_is_complete_and_contains_no_secrets(machines: Machines, three: list[Machine]) -> None:
    text = machines.lab.machines_file.read_text()
    row = json.loads(text)["machines"][1]
    first = machines.lab.machine("etcd-2")
    assert row == {
        "name": "etcd-2",
        "address": first.address,
        "ssh": {
            "host": first.address,
            "port": 22,
            "user": "operator",
            "privateKeyFile": str(machines.lab.dir / "ssh" / "id_ed25519"),
            "hostKey": first.host_key,
        },
    }
    assert first.host_key.startswith("ssh-ed25519 AAAA")
    assert (machines.lab.dir / "ssh" / "id_ed25519").stat().st_mode & 0o777 == 0o600


def test_a_second_up_only_adds_machines_and_their_names(machines: Machines, three: list[Machine]) -> None:
    first, *_ = three
    before = first.run("cat /proc/sys/kernel/random/boot_id").stdout
    machines.lab.up(["etcd-1", "another"])
    assert first.run("cat /proc/sys/kernel/random/boot_id").stdout == before
    assert first.run("getent hosts another").stdout.split()[0] == machines.lab.machine("another").address


def test_a_wiped_machine_is_a_new_machine_in_the_same_slot(machines: Machines, three: list[Machine]) -> None:
    lab = machines.lab
    old = lab.machine("etcd-2")
    old.run("touch /var/lib/mark && sync", root=True)
    old_id = old.run("cat /etc/machine-id").stdout
    lab.wipe("etcd-2")
    new = lab.machine("etcd-2")
    assert new == old, "same name, address and host key"
    assert new.run("cat /etc/machine-id").stdout != old_id
    assert new.run("ls /var/lib/mark", check=False).returncode != 0
    lab.wipe("etcd-2", new_host_key=True)
    with pytest.raises(LabError, match=r"HOST IDENTIFICATION HAS CHANGED|Host key verification failed"):
        Machine(**{**vars(old), "known_hosts": _known_hosts(machines.lab.dir / "old_hosts", old)}).run("true")
    assert lab.machine("etcd-2").run("hostname").stdout == "etcd-2\n"


def _known_hosts(path: Path, machine: Machine) -> Path:
    path.write_text(f"{machine.address} {machine.host_key}\n")
    return path


def test_a_machine_keeps_its_data_after_a_power_cut(machines: Machines, three: list[Machine]) -> None:
    first, *_ = three
    first.run("echo kept >/var/lib/mark", root=True)
    machine_id = first.run("cat /etc/machine-id").stdout
    machines.lab.kill("etcd-1")
    assert not first.answers()
    machines.lab.start("etcd-1")
    assert first.run("cat /var/lib/mark").stdout == "kept\n"
    assert first.run("cat /etc/machine-id").stdout == machine_id


def test_stop_is_an_orderly_shutdown(machines: Machines, three: list[Machine]) -> None:
    first, *_ = three
    unit = "[Service]\nExecStart=sleep infinity\nExecStop=sh -c 'echo stopped >/var/lib/mark'\n"
    first.run("cat >/etc/systemd/system/tidy.service && systemctl start tidy", input=unit, root=True)
    machines.lab.stop("etcd-1")
    assert [row.state for row in machines.lab.status() if row.name == "etcd-1"] == ["stopped"]
    machines.lab.start("etcd-1")
    assert first.run("cat /var/lib/mark").stdout == "stopped\n"


def test_a_machine_can_reboot_itself(three: list[Machine]) -> None:
    first, *_ = three
    before = first.run("cat /proc/sys/kernel/random/boot_id").stdout
    first.run("systemctl reboot", root=True, check=False)
    deadline = time.monotonic() + 60
    after = before
    while after in {before, ""} and time.monotonic() < deadline:
        time.sleep(0.2)
        after = first.run("cat /proc/sys/kernel/random/boot_id", check=False).stdout
    assert after not in {before, ""}


def test_an_isolated_machine_reaches_only_the_operators_computer(machines: Machines, three: list[Machine]) -> None:
    first, second, third = three
    assert reaches(first, "etcd-2")
    machines.lab.isolate("etcd-2")
    assert not reaches(first, "etcd-2")
    assert not reaches(second, "etcd-3")
    assert reaches(first, "etcd-3")
    assert reaches(second, "releases.lab", 80)
    assert {row.name: row.network for row in machines.lab.status()}["etcd-2"] == "isolated"
    machines.lab.isolate("etcd-2", host_too=True)
    assert not second.answers()
    assert reaches(third, "etcd-1")
    assert {row.name: row.network for row in machines.lab.status()}["etcd-2"] == "unreachable"
    machines.lab.heal("etcd-2")
    assert second.answers(10)
    assert reaches(first, "etcd-2")


def test_the_mirror_can_serve_another_directory(machines: Machines, three: list[Machine]) -> None:
    first, *_ = three
    fetch = (
        "import urllib.request as u; r = u.urlopen('http://releases.lab/v0/x', timeout=5); "
        "print(r.headers['Date'], r.read())"
    )
    assert "404" in first.run(["python3", "-c", fetch], check=False).stderr
    machines.tampered_mirror({"v0/x": b"tampered"})
    answer = first.run(["python3", "-c", fetch]).stdout
    assert "GMT b'tampered'" in answer
    machines.lab.mirror()
    assert "404" in first.run(["python3", "-c", fetch], check=False).stderr


def test_a_machines_python_clock_can_be_skewed_and_restored(three: list[Machine]) -> None:
    first, *_ = three

    def offset() -> float:
        return (
            float(first.run(["sudo", "-n", "python3", "-I", "-c", "import time; print(time.time())"]).stdout)
            - time.time()
        )

    assert abs(offset()) < 5
    skew_clock(first, 7200)
    assert abs(offset() - 7200) < 5
    assert first.run("systemctl is-active ssh").stdout == "active\n"
    right_clock(first)
    assert abs(offset()) < 5


def test_a_machine_can_have_a_small_disk(three: list[Machine]) -> None:
    first, *_ = three
    fill_disk(first)
    full = first.run("dd if=/dev/zero of=/var/lib/etcd/x bs=1M count=4", root=True, check=False)
    assert "No space left on device" in full.stderr
    first.run("umount /var/lib/etcd", root=True)


def test_a_hardened_unit_is_really_confined(three: list[Machine]) -> None:
    first, *_ = three
    options = [
        "ProtectSystem=strict",
        "StateDirectory=confined",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "SystemCallFilter=@system-service",
        "User=operator",
        "RestrictAddressFamilies=AF_INET AF_UNIX",
    ]
    prefix = ["systemd-run", "--wait", "--pipe", "--quiet", *[f"--property={option}" for option in options], "sh", "-c"]
    done = first.run(["sudo", "-n", *prefix, "touch /var/lib/confined/x && ! touch /etc/x"], check=False)
    assert done.returncode == 0
    assert "Read-only file system" in done.stderr
    assert "OK" in first.run("systemd-analyze security --no-pager ssh | tail -1; echo OK", root=True).stdout


def test_the_command_line_matches_the_library(machines: Machines, three: list[Machine]) -> None:
    rows = json.loads(command(machines.lab, "status", "--json").stdout)["machines"]
    assert {row["name"]: row["state"] for row in rows}["etcd-2"] == "running"
    assert command(machines.lab, "ssh", "etcd-2", "--", "hostname").stdout == "etcd-2\n"
    assert command(machines.lab, "ssh", "etcd-2", "--", "exit 7").returncode == 7
    for words in (
        ["isolate", "etcd-2"],
        ["heal", "etcd-2"],
        ["kill", "etcd-2"],
        ["start", "etcd-2"],
        ["stop", "etcd-2"],
    ):
        assert command(machines.lab, *words).returncode == 0
    table = command(machines.lab, "status").stdout
    assert "etcd-2" in table
    assert "stopped" in table
    wrong = command(machines.lab, "kill", "nobody")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("lab: There is no machine 'nobody' in the lab")
    assert wrong.stderr.count("\n") == 1


def test_a_saved_disk_can_be_restored_repeatedly(machines: Machines, three: list[Machine]) -> None:
    """Including its identity: it is the same machine."""
    lab, third = machines.lab, three[2]
    third.run("echo kept >/var/lib/mark", root=True)
    with pytest.raises(LabError, match=r"etcd-3 must be stopped"):
        lab.keep("here", "etcd-3")
    machine_id = third.run("cat /etc/machine-id").stdout
    lab.stop("etcd-3")
    lab.keep("here", "etcd-3")
    for _ in range(2):
        lab.wipe("etcd-3", kept="here")
        assert lab.machine("etcd-3").host_key == third.host_key
        assert third.run("cat /etc/machine-id /var/lib/mark").stdout == f"{machine_id}kept\n"
        third.run("rm /var/lib/mark", root=True)
        lab.wipe("etcd-3", new_host_key=True, start=False)

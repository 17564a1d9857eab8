"""`down` removes everything that a lab has created, also after a crash; two labs do not affect each other."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, LabError, host
from lab.disk import Disk
from lab.jobs import Job
from tests.support.machines import temporary_lab
from tests.support.needs import leave_out
from tests.support.traces import lasting_traces, traces

REPO = Path(__file__).resolve().parents[2]
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with temporary_lab("leaves") as made:
        yield made


@pytest.fixture
def before() -> tuple[str, int]:
    locks = Path("/run/systemd/nspawn/locks")
    return INOTIFY.read_text(), len(list(locks.iterdir())) if locks.is_dir() else 0


def assert_all_is_as(before: tuple[str, int], lab: Lab) -> None:
    assert lasting_traces(lab) == []
    if host.entries():
        leave_out("another lab on this computer needs what the last one removes")
    assert INOTIFY.read_text() == before[0] or before[0] == "1024\n"
    assert not host.RUN.exists()


def start_up(lab: Lab, *words: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "lab", "--dir", str(lab.dir), "up", *words]
    return subprocess.Popen(argv, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_down_leaves_nothing_of_a_running_lab(lab: Lab, before: tuple[str, int]) -> None:
    lab.up(2)
    lab.isolate("etcd-1", host_too=True)
    lab.stop("etcd-2")
    image = lab.dir / "machines" / "etcd-1" / "extra.img"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    host.call("losetup", "--find", str(image))
    assert int(INOTIFY.read_text()) >= 1024
    assert traces(lab)
    lab.down()
    assert_all_is_as(before, lab)


def test_down_without_a_lab_succeeds_and_touches_no_foreign_files(lab: Lab) -> None:
    lab.down()
    lab.dir.mkdir()
    (lab.dir / "letter").write_text("dear")
    lab.down()
    assert (lab.dir / "letter").exists()
    with pytest.raises(LabError, match="has files that are not a lab's"):
        lab.up(1)
    assert (lab.dir / "letter").exists()


def test_the_machines_outlive_the_shell_that_created_them(lab: Lab, before: tuple[str, int]) -> None:
    line = f"{sys.executable} -m lab --dir {lab.dir} up -n 1; kill -HUP 0"
    subprocess.run(["setsid", "sh", "-c", line], cwd=REPO, timeout=120, check=False, stdin=subprocess.DEVNULL)
    time.sleep(0.3)
    assert lab.machine("etcd-1").run("hostname").stdout == "etcd-1\n"
    assert lab.mirrored() is not None
    lab.down()
    assert_all_is_as(before, lab)


@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.5, 0.8])
def test_down_cleans_up_after_an_up_that_was_killed(lab: Lab, seconds: float, before: tuple[str, int]) -> None:
    run = start_up(lab, "-n", "3")
    time.sleep(seconds)
    run.kill()
    run.wait(timeout=10)
    lab.down()
    assert_all_is_as(before, lab)


def test_up_resumes_a_killed_up(lab: Lab) -> None:
    for seconds in (0.2, 0.35, 0.5):
        run = start_up(lab, "-n", "2")
        time.sleep(seconds)
        run.kill()
        run.wait(timeout=10)
    assert [machine.run("hostname").stdout for machine in lab.up(2)] == ["etcd-1\n", "etcd-2\n"]


def test_down_finds_a_guest_whose_nspawn_was_killed(lab: Lab, before: tuple[str, int]) -> None:
    lab.up(2)
    found = Job(f"{lab.id}-1").command("systemd-nspawn")
    assert found is not None
    os.kill(found[0], signal.SIGKILL)
    time.sleep(0.3)
    lab.down()
    assert_all_is_as(before, lab)


def test_a_machine_whose_nspawn_was_killed_can_be_started_again(lab: Lab) -> None:
    lab.up(1)
    found = Job(f"{lab.id}-1").command("systemd-nspawn")
    assert found is not None
    os.kill(found[0], signal.SIGKILL)
    time.sleep(0.3)
    lab.kill("etcd-1")
    lab.start("etcd-1")
    assert lab.machine("etcd-1").run("hostname").stdout == "etcd-1\n"


def test_down_needs_no_files_of_the_lab(lab: Lab, before: tuple[str, int]) -> None:
    lab.up(1)
    (lab.dir / "lab.json").write_text("{ torn")
    with pytest.raises(LabError, match="Run `lab down`"):
        lab.up(1)
    lab.down()
    assert_all_is_as(before, lab)
    lab.up(1)
    (lab.dir / "lab.json").unlink()
    lab.down()
    assert (lab.dir / "machines").exists(), "without its mark the directory does not belong to the lab"
    shutil.rmtree(lab.dir)
    assert_all_is_as(before, lab)


def test_two_labs_do_not_affect_each_other(lab: Lab, before: tuple[str, int]) -> None:
    with temporary_lab("second") as other:
        here, there = lab.up(1)[0], other.up(1)[0]
        assert here.address.rsplit(".", 1)[0] != there.address.rsplit(".", 1)[0]
        assert here.run(f"timeout 2 bash -c 'exec 3<>/dev/tcp/{there.address}/22'", check=False).returncode != 0
        lab.down()
        assert lasting_traces(lab) == []
        assert int(INOTIFY.read_text()) >= 1024, "the other lab still needs it"
        assert there.run("hostname").stdout == "etcd-1\n"
        other.isolate("etcd-1")
        other.heal("etcd-1")
        other.down()
        assert_all_is_as(before, other)


def test_an_address_range_in_use_is_refused_with_its_user(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with temporary_lab("second") as other:
        there = other.up(1)[0]
        subnet = f"{there.address.rsplit('.', 1)[0]}.0/24"
        monkeypatch.setenv("LAB_SUBNET", subnet)
        with pytest.raises(LabError, match=f"LAB_SUBNET is {subnet}"):
            lab.up(1)
        assert [trace for trace in traces(lab) if not trace.startswith(str(lab.dir))] == []
        monkeypatch.setenv("LAB_SUBNET", "10.98.77.0/24")
        assert lab.up(1)[0].address == "10.98.77.11"
        monkeypatch.setenv("LAB_SUBNET", "10.98.78.0/24")
        with pytest.raises(LabError, match=r"this lab has 10\.98\.77\.0/24"):
            lab.up(1)


def test_without_overlayfs_the_disk_is_a_copy(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "_mount", lambda *_: False)
    machine = lab.up(1)[0]
    assert lab.status()[0].disk == "copy"
    machine.run("echo kept >/var/lib/mark", root=True)
    lab.kill("etcd-1")
    lab.start("etcd-1")
    assert machine.run("cat /var/lib/mark").stdout == "kept\n"
    lab.wipe("etcd-1")
    assert machine.run("ls /var/lib/mark", check=False).returncode != 0

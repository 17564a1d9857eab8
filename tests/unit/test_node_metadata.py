"""Only root can reach a cloud's metadata service: the unit that blocks it, and when it is loaded."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.first_boot import FOR_ROOT
from components.node.machine import metadata
from components.node.shared import paths
from components.plan import cloud_init

ADDRESSES = ["169.254.169.254", "fd00:ec2::254"]
CLOSED = "1:\tfrom all to 169.254.169.254 uidrange 1-4294967294 prohibit"


class Machine:
    """A folder for its units, and the commands that were run.

    Attributes:
        shown: the output of `ip rule show`.
        ran: `systemctl` commands.
    """

    def __init__(self) -> None:
        self.shown = ""
        self.ran: list[str] = []

    def run(self, argv: Sequence[str], _timeout: float, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        assert check or argv[0] == "ip" or argv[1] == "stop"
        if argv[0] == "systemctl":
            self.ran.append(" ".join(argv[1:]))
        return subprocess.CompletedProcess(list(argv), 0, self.shown if argv[0] == "ip" else "", "")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    made = Machine()
    monkeypatch.setattr(paths, "METADATA_UNIT_FILE", tmp_path / paths.METADATA_UNIT)
    monkeypatch.setattr(paths, "METADATA_WANTED", tmp_path / "wants" / paths.METADATA_UNIT)
    monkeypatch.setattr(metadata, "run", made.run)
    return made


def test_the_service_is_blocked_once_and_checked_every_time(machine: Machine) -> None:
    metadata.close(ADDRESSES)
    assert machine.ran == ["daemon-reload", "restart etcd-metadata.service"]
    assert paths.METADATA_WANTED.resolve() == paths.METADATA_UNIT_FILE
    machine.ran.clear()
    machine.shown = CLOSED
    metadata.close(ADDRESSES)
    assert machine.ran == []
    machine.shown = ""
    metadata.close(ADDRESSES)
    assert machine.ran == ["restart etcd-metadata.service"], "the rule was removed by another program"


def test_a_retired_machine_can_reach_the_service_again(machine: Machine) -> None:
    metadata.remove()
    assert machine.ran == []
    metadata.close(ADDRESSES)
    metadata.remove()
    assert machine.ran[-2:] == ["stop etcd-metadata.service", "daemon-reload"]
    assert not paths.METADATA_UNIT_FILE.exists()
    assert not paths.METADATA_WANTED.is_symlink()


def test_etcd_starts_after_the_block_also_without_ipv6() -> None:
    text = metadata.unit_text(ADDRESSES)
    assert "Before=network-pre.target etcd.service" in text
    adds = [line for line in text.splitlines() if " rule add " in line]
    assert [line.partition("/")[0] for line in adds] == ["ExecStart=", "ExecStart=-"]
    assert all("uidrange 1-4294967294 prohibit protocol kernel" in line for line in adds)


def test_a_new_machine_has_the_block_from_its_first_boot() -> None:
    assert {"etcd-metadata.service": metadata.unit_text(ADDRESSES)} == FOR_ROOT
    assert list(cloud_init.METADATA) == ADDRESSES

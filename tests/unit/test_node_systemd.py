"""The process according to /proc, and the reloads of systemd."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.node.service import systemd
from components.node.shared import paths


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A program below a directory that is a link, and the process started by that name."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    program = link / "sleep"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    process = subprocess.Popen([program, "60"])
    # Popen returns when the program was found; the kernel updates /proc a moment later.
    end = time.monotonic() + 10
    while not Path(f"/proc/{process.pid}/cmdline").read_bytes() and time.monotonic() < end:
        time.sleep(0.001)
    yield program, process.pid
    process.kill()
    process.wait()


def test_a_program_behind_a_link_is_known_by_its_start_name(started: tuple[Path, int]) -> None:
    program, pid = started
    assert systemd.command_of(pid) == [str(program), "60"]


def test_a_replaced_program_is_detected(started: tuple[Path, int]) -> None:
    program, pid = started
    program.unlink()
    program.touch()
    assert systemd.command_of(pid)[0] != str(program)


def test_systemd_reloads_a_unit_that_it_knows_in_another_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also if an earlier run wrote it and was killed, and a new one that systemd has not found."""
    told: list[str] = []
    stale, loaded = "no", "loaded"

    def run(words: list[str], *_: object, **__: object) -> SimpleNamespace:
        told.extend(word for word in words if word == "daemon-reload")
        return SimpleNamespace(stdout=f"NeedDaemonReload={stale}\nLoadState={loaded}")

    monkeypatch.setattr(systemd, "run", run)
    monkeypatch.setattr(paths, "UNIT_FILE", tmp_path / "etcd.service")
    monkeypatch.setattr(paths, "UNIT_WANTED", tmp_path / "wants" / "etcd.service")
    monkeypatch.setattr("components.node.shared.files.os.fchown", lambda *_: None)
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)

    def reloads(text: str) -> bool:
        told.clear()
        systemd.install(text)
        return told == ["daemon-reload"]

    assert not reloads("[Unit]"), "systemd reads the file of a unit that it does not know"
    assert not reloads("[Unit]")
    assert reloads("[Unit]\nDescription=etcd")
    stale = "yes"
    assert reloads("[Unit]\nDescription=etcd")
    paths.UNIT_FILE.unlink()
    assert reloads("[Unit]"), "it knows the file of before"
    paths.UNIT_FILE.unlink()
    stale, loaded = "no", "not-found"
    assert reloads("[Unit]")


def test_etcd_variables_are_found_wherever_they_are_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drop_ins = tmp_path / "etcd.service.d"
    drop_ins.mkdir()
    settings = tmp_path / "default"
    settings.write_text("# ETCD_NAME=no\nETCD_DATA_DIR=/x\n  ETCD_DEBUG=1\nETCDCTL_API=3\n")
    (drop_ins / "a.conf").write_text(
        '[Service]\n# Environment=ETCD_NO=1\nEnvironment=GOGC=50 \\\n  "ETCD_A=1 2" MY_ETCD_B=2 ETCDCTL_API=3\n'
        "PassEnvironment=PATH ETCD_C\nExecStartPre=/bin/echo ETCD_D=4\nEnvironment=ETCD_UNSUPPORTED_ARCH=arm64\n"
    )
    (drop_ins / "b.conf").write_text(f"[Service]\nEnvironmentFile=-{settings}\nEnvironmentFile=-/nowhere/*\n")
    monkeypatch.setattr(paths, "UNIT_DIRECTORIES", (tmp_path, tmp_path / "none"))
    monkeypatch.setattr(systemd, "run", lambda *_, **__: SimpleNamespace(stdout="LANG=C\nETCD_E=5\nHOME=/root\n"))
    assert systemd.foreign_variables() == {
        **dict.fromkeys(("ETCD_A", "ETCD_C"), str(drop_ins / "a.conf")),
        **dict.fromkeys(("ETCD_DATA_DIR", "ETCD_DEBUG"), str(drop_ins / "b.conf")),
        "ETCD_E": "`systemctl show-environment`",
    }

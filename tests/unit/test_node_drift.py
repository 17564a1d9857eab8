"""What others have changed of that which etcd-node has written is found and named."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.node.backup import programs
from components.node.machine import account, metadata, nftables
from components.node.service import manager, release, systemd
from components.node.shared import files, paths, written
from components.node.steps import drift

from .node_support import a_spec

RUNS = systemd.Service("active", "running", 7, 0, "", True, False, False)
FAILED = systemd.Service("failed", "failed", 0, 0, "", True, False, False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's files are; its state is beside them."""
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setattr(paths, "STATE", state)
    monkeypatch.setattr(paths, "WRITTEN", state / "written.json")
    monkeypatch.setattr(written, "_NEVER", (state, Path("/run")))
    monkeypatch.setattr(written, "_noted", {})
    found = tmp_path / "machine"
    found.mkdir()
    return found


def here(path: Path, text: str = "text\n", mode: int = 0o644) -> None:
    files.write(path, text, mode, os.getuid(), os.getgid())


def saved(place: Path) -> Path:
    """A file, a link and a directory of this program."""
    files.directory(place / "folder", 0o750, os.getuid(), os.getgid())
    here(place / "folder/file", mode=0o640)
    files.symlink(place / "link", place / "folder/file")
    written.save()
    return place / "folder/file"


def replaced(path: Path, by: str) -> None:
    path.unlink()
    path.write_text(by)


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (lambda place: (place / "folder/file").write_text("other\n"), "folder/file", "has other content"),
        (lambda place: (place / "folder/file").unlink(), "folder/file", "is missing"),
        (lambda place: (place / "folder/file").chmod(0o644), "folder/file", "has mode 0644, not 0640"),
        (lambda place: (place / "folder").chmod(0o777), "folder", "has mode 0777, not 0750"),
        (lambda place: (place / "link").unlink(), "link", "is missing"),
        (lambda place: replaced(place / "link", "x"), "link", "is no link any more"),
        (lambda place: files.symlink(place / "link", Path("/dev/null")), "link", ""),
    ],
)
def test_a_change_by_others_is_found(place: Path, change: Callable[[Path], object], name: str, said: str) -> None:
    saved(place)
    assert written.changed() == {}
    change(place)
    assert written.changed() == {str(place / name): said or f"leads to /dev/null, not to {place}/folder/file"}


def test_a_change_by_this_program_is_none(place: Path) -> None:
    path = saved(place)
    here(path, "new\n", 0o600)
    files.symlink(place / "link", place)
    written.save()
    assert written.changed() == {}
    # What it removes is forgotten, with all below.
    files.remove_tree(place / "folder")
    files.remove(place / "link")
    written.save()
    assert written.load() == {}


def test_the_notes_of_a_run_that_wrote_nothing_new_are_the_same(place: Path) -> None:
    path = saved(place)
    before = written.load()
    path.write_text("somebody else's\n")
    here(path, mode=0o640)
    files.directory(place / "folder", 0o750, os.getuid(), os.getgid())
    written.save()
    assert written.load() == before
    assert written.changed() == {}


def test_own_state_and_what_is_below_run_are_not_recorded(place: Path) -> None:
    here(paths.STATE / "result.json")
    written.note_file(Path("/run/x"), b"", 0o644, 0, 0)
    written.save()
    assert written.load() == {}
    del place


def test_after_a_retirement_nothing_is_recorded(place: Path) -> None:
    here(place / "file")
    paths.STATE.rmdir()
    written.save()
    assert not paths.STATE.exists()


def test_what_is_gone_for_good_is_forgotten_when_a_machine_was_prepared(place: Path) -> None:
    """As after data were moved to another directory; what `converge` writes again is noted again."""
    path = saved(place)
    files.directory(place / "old-data", 0o700, os.getuid(), os.getgid())
    written.save()
    (place / "old-data").rmdir()
    path.unlink()
    (place / "folder").chmod(0o700)
    written.forget_missing()
    written.save()
    assert written.changed() == {str(place / "folder"): "has mode 0700, not 0750"}
    here(path, mode=0o640)
    written.save()
    path.unlink()
    assert written.changed()[str(path)] == "is missing"


def test_a_damaged_record_is_none(place: Path) -> None:
    saved(place)
    paths.WRITTEN.write_text("{")
    assert written.changed() == {}


@pytest.fixture
def healthy(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nothing differs."""
    monkeypatch.setattr(account, "find", object)
    monkeypatch.setattr(release, "damaged", lambda _: [])
    monkeypatch.setattr(programs, "damaged", lambda _: [])
    monkeypatch.setattr(manager, "show", lambda: RUNS)
    monkeypatch.setattr(drift, "differs", lambda *_: ())
    monkeypatch.setattr(paths, "FIREWALL", place / "firewall.nft")
    monkeypatch.setattr(paths, "METADATA_UNIT_FILE", place / "metadata.service")
    return place


def test_a_machine_on_which_nothing_differs(healthy: Path) -> None:
    saved(healthy)
    assert drift.found(a_spec()) == []


def test_all_kinds_are_named(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(healthy)
    path.unlink()
    (healthy / "data").mkdir()
    here(healthy / "data/member", "log")
    written.save()
    (healthy / "data/member").unlink()
    (healthy / "firewall.nft").touch()
    (healthy / "metadata.service").touch()
    monkeypatch.setattr(account, "find", lambda: None)
    monkeypatch.setattr(release, "damaged", lambda _: ["etcdctl"])
    monkeypatch.setattr(nftables, "loaded", lambda: False)
    monkeypatch.setattr(metadata, "closed", lambda: False)
    monkeypatch.setattr(drift, "differs", lambda *_: ("--quota-backend-bytes",))
    waiting: dict[str, dict[str, str]] = {"/x/timers.target.wants/a.timer": {}, "/x/sockets.target.wants/a.socket": {}}
    monkeypatch.setattr(written, "load", lambda before=written.load: {**before(), **waiting})
    monkeypatch.setattr(written, "changed", lambda: {str(path): "is missing"})
    monkeypatch.setattr(
        drift, "run", lambda *_, **__: type("Done", (), {"stdout": "inactive\nfailed\nactive\nfailed\n"})
    )
    found = drift.found(a_spec(data_directory=str(healthy / "data")))
    assert found == [
        "the user etcd is missing",
        f"{path} is missing",
        "/opt/etcd/v3.6.16/etcdctl is not what its archive had",
        "a.timer is inactive",
        "a.socket is failed",
        "etcd-firewall-watch.service is failed",
        f"the firewall's table {nftables.TABLE} is not in the kernel",
        "the metadata service is open to all users",
        "etcd runs with another setting: --quota-backend-bytes",
    ]


def test_lines_are_short_and_of_printable_characters(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(healthy)
    files.symlink(healthy / "link", healthy)
    written.save()
    (healthy / "link").unlink()
    (healthy / "link").symlink_to("x\n\x1b[31m" + "y" * 1000)
    (line,) = drift.found(a_spec())
    assert line.startswith(f"{healthy}/link leads to x??[31my")
    assert len(line) == 300


def test_a_record_of_another_program_version_refuses_no_preparation(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(healthy)
    path.unlink()
    monkeypatch.setattr(paths, "INSTALLED", healthy / "installed.json")
    (healthy / "installed.json").write_text('{"format": 99, "data_directory": "/var/lib/etcd", "new": true}')
    drift.report()
    assert f"not as it was installed: {path} is missing" in capsys.readouterr().err


def test_an_etcd_that_does_not_run_is_named(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(healthy)
    monkeypatch.setattr(manager, "show", lambda: FAILED)
    assert drift.found(a_spec()) == ["etcd does not run (failed)"]

"""Which machines a destroyed stack retires."""

from pathlib import Path
from typing import Any

import pytest

from components.node.data import identity
from components.node.data.identity import Identity
from components.node.machine import nftables
from components.node.service import image
from components.node.shared import paths
from components.node.verbs import retire


@pytest.fixture(autouse=True)
def taken_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was removed of the member, in order."""
    done: list[str] = []

    def note(name: str) -> Any:
        return lambda *_: done.append(name)

    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setattr(paths, "IDENTITY", tmp_path / "identity.json")
    for name in ("_stop", "_put_data_aside", "_remove_installed", "_remove_program"):
        monkeypatch.setattr(retire, name, note(name))
    monkeypatch.setattr(nftables, "remove", note("firewall"))
    return done


ALL = ["_stop", "_put_data_aside", "firewall", "_remove_installed", "_remove_program"]


REMOVE_INSTALLED, PUT_DATA_ASIDE = retire._remove_installed, retire._put_data_aside
REMOVE_PROGRAM = retire._remove_program


def test_a_machine_whose_data_disk_is_gone_can_be_retired(tmp_path: Path) -> None:
    (tmp_path / "etcd").symlink_to(tmp_path / "disk")
    PUT_DATA_ASIDE(Identity("dev", "etcd-1", str(tmp_path / "etcd"), data_directory_before=(0o755, 0, 0)))
    assert (tmp_path / "etcd").is_symlink()


def test_files_beside_the_releases_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Data that was moved aside there must survive, even if the program created the directory."""
    for name in ("PKI", "RELEASES", "LINKS", "RUN", "STATE"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    release = tmp_path / "RELEASES" / "v3.6.16"
    aside = tmp_path / "RELEASES" / "data.dev-retired-20261128T000000Z" / "member"
    for place in (release, aside):
        place.mkdir(parents=True)
    (release / "release.json").write_text("{}")
    REMOVE_INSTALLED(Identity("dev", "etcd-1", "/d", directories_created=(str(tmp_path / "RELEASES"),)))
    assert not release.exists()
    assert aside.is_dir()
    aside.rmdir()
    aside.parent.rmdir()
    REMOVE_INSTALLED(Identity("dev", "etcd-1", "/d", directories_created=(str(tmp_path / "RELEASES"),)))
    assert not (tmp_path / "RELEASES").exists()


def test_an_image_that_a_killed_check_has_mounted_is_unmounted_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody can remove what is mounted read-only."""
    for name in ("PKI", "RELEASES", "LINKS", "RUN", "STATE"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    place = tmp_path / "RUN" / "image-0123"
    place.mkdir(parents=True)
    asked: list[list[str]] = []
    monkeypatch.setattr(image, "run", lambda argv, *_, **__: asked.append(argv))
    REMOVE_INSTALLED(Identity("dev", "etcd-1", "/d"))
    assert [argv[2:] for argv in asked] == [["images", "unmount", "--rm", str(place)]]
    assert not (tmp_path / "RUN").exists()


def test_data_in_the_programs_directories_is_never_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = ("PKI", "RELEASES", "LINKS", "RUN", "STATE", "PROGRAM")
    for name in own:
        monkeypatch.setattr(paths, name, tmp_path / name)
    for name in ("WRAPPER", "LOCK"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    monkeypatch.setattr("os.chown", lambda *_: None)
    places = [tmp_path / name / "deep" for name in own] + [tmp_path / "RELEASES" / "v3.6.16"]
    for place in places:
        (place / "data" / "member" / "wal").mkdir(parents=True)
        (place / "file").touch()
        known = Identity("dev", "etcd-1", str(place / "data"))
        PUT_DATA_ASIDE(known)
    (tmp_path / "RELEASES" / "v3.6.16" / "release.json").write_text("{}")
    REMOVE_INSTALLED(known)
    REMOVE_PROGRAM()
    for place in places:
        assert len(list(place.glob("data.dev-retired-*/member/wal"))) == 1, place
    assert not (tmp_path / "STATE" / "deep" / "file").exists()


@pytest.mark.parametrize(
    ("known", "operator", "taken"),
    [
        (Identity("dev", "etcd-1", "/d", ca=("a",), operator="ours"), "ours", ALL),
        (Identity("dev", "etcd-1", "/d", ca=("a",), operator="ours"), "theirs", []),
        (Identity("dev", "etcd-1", "/d", ca=("a",), operator="ours"), "", ALL),
        (Identity("dev", "etcd-1", "/d", ca=("a",)), "ours", ALL),
        (Identity("dev", "etcd-1", "/d"), "ours", ALL),
    ],
    ids=["its own", "another stack's", "by hand", "an unknown stack's", "only prepared"],
)
def test_a_stack_retires_only_its_own_member(
    known: Identity, operator: str, taken: list[str], taken_away: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    identity.save(known)
    retire.retire("dev", operator)
    assert taken_away == taken
    if not taken:
        said = capsys.readouterr().err
        assert "another stack manages the member etcd-1 of dev on this machine: left alone" in said
        assert "etcd-node retire dev" in said


@pytest.mark.parametrize("ca", [("a",), ()], ids=["a member", "only prepared"])
def test_a_late_deletion_leaves_the_next_member_of_the_machine_alone(
    ca: tuple[str, ...], taken_away: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine was down when etcd-1 left, and got etcd-4 before that deletion was repeated."""
    identity.save(Identity("dev", "etcd-4", "/d", ca=ca, operator="ours" if ca else ""))
    retire.retire("dev", "ours", "etcd-1")
    assert taken_away == []
    assert "that of etcd-4 by now, and not of etcd-1: left alone" in capsys.readouterr().err
    retire.retire("dev", "ours", "etcd-4")
    assert taken_away == ALL


def test_files_of_others_beside_keys_and_programs_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PKI", "RELEASES", "LINKS", "RUN", "STATE"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    theirs = [tmp_path / place for place in ("PKI/theirs.crt", "RELEASES/v3.6.16/theirs", "RELEASES/.vault/theirs")]
    ours = [tmp_path / place for place in ("PKI/server.key", "PKI/.server.crt.new", "RELEASES/v3.6.16/release.json")]
    for path in [*theirs, *ours]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    REMOVE_INSTALLED(Identity("dev", "etcd-1", "/d", directories_created=(str(tmp_path / "PKI"),)))
    assert all(path.exists() for path in theirs)
    assert not any(path.exists() for path in ours)


def test_a_machine_whose_prepare_failed_gets_its_ports_back(taken_away: list[str]) -> None:
    """The first `prepare` failed after it loaded the rules, and there is no record of the member."""
    retire.retire("dev")
    assert taken_away == ["firewall", "_remove_program"]

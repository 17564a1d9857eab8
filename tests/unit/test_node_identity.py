"""Which member a machine holds, and when that may change."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from components.node.cluster.health import judge
from components.node.data import directory, identity
from components.node.data.identity import Identity
from components.node.protocol.etcd import Membership
from components.node.shared import paths
from components.node.shared.errors import NodeError
from components.node.verbs import prepare

from .node_support import a_member, a_spec, a_status

HELD = Identity("dev", "etcd-1", "/var/lib/etcd", ca=("aa" * 32,))


@pytest.mark.parametrize("changes", [{"cluster": "prod"}, {"member": "etcd-2"}, {"data_directory": "/srv/etcd"}])
def test_a_machine_that_holds_another_member_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(NodeError, match="its data are untouched"):
        identity.refuse_another(HELD, a_spec(**changes))


def test_a_machine_that_was_only_prepared_may_become_another_member() -> None:
    identity.refuse_another(replace(HELD, ca=()), a_spec(cluster="prod"))
    identity.refuse_another(None, a_spec())


def test_cas_with_none_in_common_are_refused_with_both_fingerprints() -> None:
    with pytest.raises(NodeError, match="nothing was changed") as caught:
        identity.refuse_other_authority(HELD, ["bb" * 32])
    assert "aaaa" in caught.value.cause
    assert "bbbb" in caught.value.cause
    identity.refuse_other_authority(HELD, ["aa" * 32])
    identity.refuse_other_authority(HELD, ["aa" * 32, "bb" * 32])
    identity.refuse_other_authority(replace(HELD, ca=("aa" * 32, "bb" * 32)), ["bb" * 32])
    identity.refuse_other_authority(None, ["bb" * 32])


def test_unconfirmed_data_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "etcd"
    spec = a_spec(data_directory=str(data))
    directory.refuse_unknown_data(spec, None)
    (data / "lost+found").mkdir(parents=True)
    directory.refuse_unknown_data(spec, None)
    (data / "member" / "wal").mkdir(parents=True)
    for known in (None, replace(HELD, ca=())):
        with pytest.raises(NodeError, match="data of an etcd"):
            directory.refuse_unknown_data(spec, known)
    directory.refuse_unknown_data(spec, HELD)
    assert (data / "member" / "wal").is_dir()


def test_data_on_a_kept_disk_identifies_its_member_after_a_reinstall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.node.shared.files.os.fchown", lambda *_: None)
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)
    for name, path in (("STATE", tmp_path / "state"), ("IDENTITY", tmp_path / "state" / "identity.json")):
        monkeypatch.setattr(paths, name, path)
    data = tmp_path / "etcd"
    spec = a_spec(data_directory=str(data))
    there = replace(HELD, data_directory=str(data), user_created=True, directories_created=("/",), data_mount="/a")
    identity.save(there)
    assert not data.exists(), "only existing data is marked"
    (data / "member" / "wal").mkdir(parents=True)
    assert prepare._known_by_its_data(spec) is None
    identity.save(there)

    known = prepare._known_by_its_data(spec)
    assert known == replace(HELD, data_directory=str(data)), "the new system has none of the old one's other records"
    directory.refuse_unknown_data(spec, known)
    assert prepare._known_by_its_data(a_spec(data_directory=str(data), cluster="prod")) is None
    assert prepare._known_by_its_data(a_spec(data_directory=str(data), member="etcd-2")) is None


def test_data_is_moved_aside_under_a_dated_name_never_deleted(tmp_path: Path) -> None:
    data = tmp_path / "etcd"
    assert directory.move_directory_aside(data, "dev-removed") is None
    (data / "member" / "snap").mkdir(parents=True)
    (data / "member" / "snap" / "db").write_text("precious")
    moved = directory.move_directory_aside(data, "dev-removed")
    assert moved is not None
    assert moved.name.startswith("etcd.dev-removed-20")
    assert (moved / "member" / "snap" / "db").read_text() == "precious"
    assert not data.exists()


def test_data_on_its_own_file_system_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "etcd"
    (data / "member").mkdir(parents=True)
    monkeypatch.setattr(directory, "mount_of", str)
    moved = directory.move_directory_aside(data, "dev-retired")
    assert moved is not None
    assert moved.parent == data
    assert (moved / "member").is_dir()
    assert not (data / "member").exists()


def test_an_unmounted_disk_is_not_a_lost_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "mount_of", lambda _: "/")
    with pytest.raises(NodeError, match="not mounted now"):
        directory.check_mount(a_spec(), "/var/lib/etcd", begun=True)
    directory.check_mount(a_spec(), "/", begun=True)
    directory.check_mount(a_spec(), "", begun=True)


def test_data_hidden_by_a_later_mount_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "mount_of", lambda _: str(tmp_path))
    spec = a_spec(data_directory=str(tmp_path / "etcd"))
    with pytest.raises(NodeError, match=r"were on the file system at /; .* which holds none of them"):
        directory.check_mount(spec, "/", begun=True)
    directory.check_mount(spec, "/", begun=False)
    (tmp_path / "etcd" / "member" / "wal").mkdir(parents=True)
    directory.check_mount(spec, "/", begun=True)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A data directory that is a link to a directory on a disk."""
    (tmp_path / "disk" / "etcd").mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    link = tmp_path / "lib" / "etcd"
    link.symlink_to(tmp_path / "disk" / "etcd")
    return link


def test_the_target_of_a_link_counts(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = linked.resolve().parent
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in ("/", str(disk)))
    assert directory.mount_of(linked) == str(disk)
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == "/")
    with pytest.raises(NodeError, match=f"on the file system at {disk}, which is not mounted now"):
        directory.check_mount(a_spec(data_directory=str(linked)), str(disk), begun=True)


def test_a_dangling_link_is_not_an_empty_data_directory(linked: Path) -> None:
    linked.resolve().rmdir()
    spec = a_spec(data_directory=str(linked))
    for look in (directory.check_place, lambda spec: directory.check_mount(spec, "", begun=True)):
        with pytest.raises(NodeError, match=r"is a link to .*/disk/etcd, which does not exist.*Mount the disk"):
            look(spec)


def test_data_behind_a_link_is_moved_aside_on_its_disk(linked: Path) -> None:
    (linked / "member").mkdir()
    moved = directory.move_directory_aside(linked, "dev-removed")
    assert moved is not None
    assert moved.parent == linked.resolve().parent
    assert (moved / "member").is_dir()
    assert linked.is_symlink()
    assert list(linked.iterdir()) == []


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_a_new_member_in_memory_is_refused(linked: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(directory, "file_system_of", lambda _: kind)
    with pytest.raises(NodeError, match=rf"on a file system in memory \({kind} at "):
        directory.check_place(a_spec(data_directory=str(linked)))
    (linked / "member" / "wal").mkdir(parents=True)
    directory.check_place(a_spec(data_directory=str(linked)))


def test_a_link_into_the_programs_own_directories_is_refused(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "file_system_of", lambda _: "ext4")
    for own in (linked.resolve(), linked.resolve().parent, linked.resolve() / "v3"):
        monkeypatch.setattr(paths, "RELEASES", own)
        with pytest.raises(NodeError, match="overlaps with"):
            directory.check_place(a_spec(data_directory=str(linked)))
    # Data of a member of an earlier version.
    (linked / "member" / "wal").mkdir(parents=True)
    directory.check_place(a_spec(data_directory=str(linked)))


def test_the_file_system_of_a_mount_is_known() -> None:
    assert directory.file_system_of("/proc") == "proc"
    assert directory.file_system_of("/nowhere") == ""


WANTED = {"etcd-1": "10.99.0.11", "etcd-2": "10.99.0.12"}
HEALTHY = Membership(77, (a_member(1), a_member(2)))
STATUSES = {"etcd-1": a_status(1), "etcd-2": a_status(2)}


def test_a_healthy_cluster_has_no_problems() -> None:
    assert judge(WANTED, "3.6.16", HEALTHY, STATUSES, []) == []


@pytest.mark.parametrize(
    ("cluster", "statuses", "alarms", "said"),
    [
        (Membership(77, (a_member(1), a_member(2, learner=True))), STATUSES, [], "etcd-2: still a learner"),
        (Membership(77, (a_member(1),)), STATUSES, [], "etcd-2: not in the cluster"),
        (Membership(77, (a_member(1), a_member(2), a_member(3))), STATUSES, [], "etcd-3 (ID 3) is in the cluster"),
        (HEALTHY, {"etcd-1": a_status(1)}, [], "etcd-2: no status"),
        (HEALTHY, {**STATUSES, "etcd-2": a_status(2, version="3.6.11")}, [], "etcd-2: runs 3.6.11, not 3.6.16"),
        (HEALTHY, {**STATUSES, "etcd-2": a_status(2, leader=2)}, [], "no single leader"),
        (HEALTHY, {key: replace(value, leader=0) for key, value in STATUSES.items()}, [], "no single leader"),
        (HEALTHY, {**STATUSES, "etcd-2": replace(a_status(2), cluster_id=78)}, [], "etcd-2: in the cluster 4e"),
        (HEALTHY, STATUSES, [(2, "NOSPACE")], "etcd-2: alarm NOSPACE"),
    ],
)
def test_every_problem_of_a_cluster_is_named(
    cluster: Membership, statuses: dict[str, object], alarms: list[tuple[int, str]], said: str
) -> None:
    wrong = judge(WANTED, "3.6.16", cluster, statuses, alarms)  # type: ignore[arg-type]
    assert any(line.startswith(said) for line in wrong), wrong

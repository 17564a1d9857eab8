"""Whether etcd's user can read a file that the operator has put on the machine."""

from pathlib import Path

import pytest

from components.node.machine import account
from components.node.shared.errors import NodeError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    place = tmp_path / "revoked" / "crl.pem"
    place.parent.mkdir(mode=0o755)
    place.write_text("a list")
    place.chmod(0o644)
    return place


@pytest.fixture(autouse=True)
def _open_parents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The directories above a test's own do not matter."""
    original = account._may
    monkeypatch.setattr(
        account, "_may", lambda place, user, bit: place in tmp_path.parents or original(place, user, bit)
    )
    monkeypatch.setattr(account, "find", lambda: None)


def test_a_world_readable_file_is_accepted(file: Path) -> None:
    account.check_readable([str(file)])
    account.check_readable([])


@pytest.mark.parametrize(
    ("mode", "folder", "said"),
    [(0o640, 0o755, r"crl\.pem does not allow it"), (0o644, 0o700, r"revoked does not allow it")],
)
def test_an_unreadable_file_is_refused_with_the_cause(file: Path, mode: int, folder: int, said: str) -> None:
    file.chmod(mode)
    file.parent.chmod(folder)
    with pytest.raises(NodeError, match=said):
        account.check_readable([str(file)])


def test_a_file_of_etcds_group_is_accepted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "find", lambda: account.Account(12345, file.stat().st_gid))
    file.chmod(0o640)
    account.check_readable([str(file)])


def test_a_missing_file_is_refused(file: Path) -> None:
    with pytest.raises(NodeError, match="cannot be opened"):
        account.check_readable([f"{file}.old"])
    with pytest.raises(NodeError, match="is not a file"):
        account.check_readable([str(file.parent)])

"""Whose machine a destroyed stack lets go."""

from pathlib import Path
from typing import Any

import pytest

from components.node import firewall, identity, paths, retire
from components.node.identity import Identity


@pytest.fixture(autouse=True)
def taken_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was taken away of the member, in order."""
    done: list[str] = []

    def note(name: str) -> Any:
        return lambda *_: done.append(name)

    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setattr(paths, "IDENTITY", tmp_path / "identity.json")
    for name in ("_stop", "_put_data_aside", "_remove_installed", "_remove_program"):
        monkeypatch.setattr(retire, name, note(name))
    monkeypatch.setattr(firewall, "remove", note("firewall"))
    return done


ALL = ["_stop", "_put_data_aside", "firewall", "_remove_installed", "_remove_program"]


@pytest.mark.parametrize(
    ("known", "operator", "taken"),
    [
        (Identity("dev", "etcd-1", "/d", ca=("a",), operator="ours"), "ours", ALL),
        (Identity("dev", "etcd-1", "/d", ca=("a",), operator="ours"), "theirs", []),
        (Identity("dev", "etcd-1", "/d", ca=("a",), operator="ours"), "", ALL),
        (Identity("dev", "etcd-1", "/d", ca=("a",)), "ours", ALL),
        (Identity("dev", "etcd-1", "/d"), "ours", ALL),
    ],
    ids=["its own", "another stack's", "by hand", "of nobody who could be told apart", "only prepared"],
)
def test_a_stack_takes_away_what_is_its_own(
    known: Identity, operator: str, taken: list[str], taken_away: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    identity.save(known)
    retire.retire("dev", operator)
    assert taken_away == taken
    if not taken:
        said = capsys.readouterr().err
        assert "another stack looks after the member etcd-1 of dev on this machine: left alone" in said
        assert "etcd-node retire dev" in said

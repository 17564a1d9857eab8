"""The lab's messages where it cannot run."""

import os
import platform
import shutil

import pytest

from lab import LabError, cli, host


def test_other_systems_than_linux_get_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert cli.main(["up"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "needs Linux" in captured.err
    assert "Darwin" in captured.err


@pytest.mark.parametrize("words", [["up"], ["down"], ["wipe", "etcd-1"], ["kill", "etcd-1"], ["mirror"]])
def test_users_other_than_root_get_one_clear_sentence(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for user in ("lab.lab.cache", "lab.image.cache"):
        monkeypatch.setattr(user, lambda: pytest.fail("other users must not look into root's cache"))
    assert cli.main(words) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "needs root" in captured.err


def test_missing_programs_are_named_with_the_packages_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in {"nft", "mmdebstrap"} else f"/bin/{name}")
    assert host.missing() == (
        "The lab needs mmdebstrap, nft. Run `apt-get install mmdebstrap nftables` or your system's equivalent."
    )
    reason = host.missing(base_is_cached=True)
    assert reason is not None
    assert "mmdebstrap" not in reason


def test_a_failed_program_is_reported_with_its_output() -> None:
    with pytest.raises(LabError, match=r"`ls /does/not/exist` failed: .*No such file"):
        host.call("ls", "/does/not/exist")


def test_a_hanging_program_times_out() -> None:
    with pytest.raises(LabError, match=r"did not end within 0.2 s"):
        host.call("sleep", "30", timeout=0.2)


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for command in (
        "up",
        "down",
        "status",
        "ssh",
        "stop",
        "start",
        "kill",
        "wipe",
        "isolate",
        "heal",
        "mirror",
        "LAB_SUBNET",
    ):
        assert command in text

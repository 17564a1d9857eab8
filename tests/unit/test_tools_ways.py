"""The ways to get a tool are tried in order, and the output says which one worked and why others failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.base import ToolError, UnreachableError, cache, first_way, lock, put_in_place, run, scratch


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test has its own cache."""
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))


def failing(error: ToolError) -> Callable[[], str]:
    """A way that fails."""

    def run() -> str:
        raise error

    return run


def test_the_first_working_way_is_used_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    ways = [("official release", lambda: "official"), ("built", failing(ToolError("not tried")))]
    assert first_way("etcd 3.6.16", ways) == "official"
    assert capsys.readouterr().err == "etcd 3.6.16: official release, 0 s\n"


def test_an_unreachable_address_is_reported_in_the_same_line(capsys: pytest.CaptureFixture[str]) -> None:
    ways = [("official release", failing(UnreachableError("h cannot be reached"))), ("built", lambda: "built")]
    assert first_way("etcd 3.6.16", ways) == "built"
    assert capsys.readouterr().err == "etcd 3.6.16: built, 0 s (h cannot be reached)\n"


def test_a_wrong_checksum_has_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    ways = [("official release", failing(ToolError("wrong checksum"))), ("built", lambda: "built")]
    assert first_way("etcd 3.6.16", ways) == "built"
    assert capsys.readouterr().err.startswith("etcd 3.6.16: not official release: wrong checksum\n")


def test_if_no_way_works_every_reason_is_reported() -> None:
    ways = [("official", failing(UnreachableError("h cannot be reached"))), ("built", failing(ToolError("no go")))]
    with pytest.raises(ToolError, match="kubeadm is not available: h cannot be reached; no go"):
        first_way("kubeadm", ways)


def test_the_cache_directory_can_be_set_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache() == tmp_path / "cache"
    monkeypatch.delenv("EXTERNAL_ETCD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache() == Path("/somewhere/external-etcd")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache() == Path.home() / ".cache" / "external-etcd"


def test_the_second_of_two_runs_waits_for_the_first() -> None:
    order: list[str] = []

    def second() -> None:
        with lock("build", wait=5):
            order.append("second")

    with lock("build"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first done")
    thread.join(5)
    assert order == ["first done", "second"]


def test_a_lock_that_is_never_released_is_an_error() -> None:
    with lock("build"), pytest.raises(ToolError, match="Another run has held"), lock("build", wait=0.1):
        pass


def test_a_finished_folder_replaces_a_damaged_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "release"
    target.mkdir(parents=True)
    (target / "half").write_text("")
    with scratch() as place:
        (place / "ready").mkdir()
        (place / "ready" / "whole").write_text("")
        put_in_place(place / "ready", target)
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_a_program_runs_in_its_folder_with_more_variables(tmp_path: Path) -> None:
    assert run(["sh", "-c", "pwd; echo $A"], 10, folder=tmp_path, environ={"A": "b"}) == f"{tmp_path}\nb\n"


def test_the_error_of_a_program_has_the_last_lines_of_its_output() -> None:
    with pytest.raises(ToolError) as raised:
        run(["sh", "-c", "seq 1 20; echo no space left >&2; exit 3"], 10, "the build")
    assert str(raised.value) == "the build failed:\n14\n15\n16\n17\n18\n19\n20\nno space left"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["sleep", "10"], r"^sleep 10 took more than 0 s\. Run this again"),
        (["/nowhere/etcd"], "^/nowhere/etcd does not run: .*No such file"),
    ],
)
def test_a_program_that_hangs_or_does_not_exist_is_reported(command: list[str], error: str) -> None:
    with pytest.raises(ToolError, match=error):
        run(command, 0.2)

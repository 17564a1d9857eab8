"""The `command` stand-in: copying files to machines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lab.plugins.command import plugin
from lab.plugins.wire import UNKNOWN, Change, Secret
from tests.support.plugin_client import PluginClient, refused, running
from tests.support.sshd import Sshd, new_key

PRIVATE, PUBLIC = new_key()
SIGNATURE = "4dabf18193072939515e22adb298388d"
ASSET = "c44067f5952c0a294b673a41bacd8c17"


@pytest.fixture(scope="module")
def client() -> Iterator[PluginClient]:
    with running(plugin, "command:remote:CopyToRemote", PluginClient) as client:
        yield client


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_text("the program\n" * 10_000)
    return path


def inputs(sshd: Sshd, file: Path, place: str = "there", **way: Any) -> dict[str, Any]:
    connection = {"host": "127.0.0.1", "port": sshd.port, "user": "u", "privateKey": PRIVATE, **way}
    source = {SIGNATURE: ASSET, "path": str(file), "hash": hashlib.sha256(file.read_bytes()).hexdigest()}
    return {"connection": Secret({**connection, "hostKey": sshd.host_key}), "source": source, "remotePath": place}


def as_the_engine_shows_it(given: dict[str, Any]) -> dict[str, Any]:
    """In comparisons and old states, the engine omits the contents of assets."""
    return {**given, "source": {name: given["source"][name] for name in (SIGNATURE, "hash")}}


def test_a_file_is_copied_but_not_in_a_preview(client: PluginClient, home: Path, file: Path) -> None:
    with Sshd(user_keys=[PUBLIC], home=home) as sshd:
        client.create(inputs(sshd, file), preview=True)
        assert not list(home.iterdir())
        client.create(inputs(sshd, file))
    assert (home / "there").read_bytes() == file.read_bytes()


def test_a_file_is_copied_again_only_if_it_or_its_path_changed(client: PluginClient, home: Path, file: Path) -> None:
    with Sshd(user_keys=[PUBLIC], home=home) as sshd:
        before = inputs(sshd, file)
        _, state = client.create(before)
        (home / "there").unlink()
        old, state = as_the_engine_shows_it(before), as_the_engine_shows_it(state)
        client.update(state, inputs(sshd, file, user="other"))
        assert not list(home.iterdir())
        client.update(state, inputs(sshd, file, "elsewhere"))
        assert [path.name for path in home.iterdir()] == ["elsewhere"]
        file.write_text("another")
        client.update(state, inputs(sshd, file))
        assert (home / "there").read_text() == "another"
        changes = client.diff(state, old, as_the_engine_shows_it(inputs(sshd, file, "elsewhere")))
        assert changes == {"source": Change.UPDATE, "remotePath": Change.UPDATE}


@pytest.mark.parametrize(
    ("source", "reason"),
    [(UNKNOWN, "either asset or archive must be set"), ({SIGNATURE: ASSET, "text": "x"}, "must be a file")],
    ids=["unknown", "text"],
)
def test_an_unsupported_asset_is_refused(client: PluginClient, file: Path, source: Any, reason: str) -> None:
    with Sshd() as sshd:
        failures = client.failures({**inputs(sshd, file), "source": source})
    assert any(reason in each for each in failures.values())


@pytest.mark.parametrize(
    ("prints", "reason"),
    [(None, "subsystem request failed"), ("hello from bashrc", "packet too long")],
    ids=["no sftp", "a shell that prints"],
)
def test_a_login_without_sftp_is_reported(
    client: PluginClient, home: Path, file: Path, prints: str | None, reason: str
) -> None:
    has = Sshd(user_keys=[PUBLIC], home=home, prints=prints) if prints else Sshd(user_keys=[PUBLIC])
    with has as sshd, pytest.raises(grpc.RpcError) as error:
        client.create(inputs(sshd, file))
    assert reason in refused(error)


def test_an_unwritable_path_is_reported(client: PluginClient, home: Path, file: Path) -> None:
    with Sshd(user_keys=[PUBLIC], home=home) as sshd, pytest.raises(grpc.RpcError) as error:
        client.create(inputs(sshd, file, "gone/there"))
    assert "failed to create remote file gone/there" in refused(error)

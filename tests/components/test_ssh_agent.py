"""The ssh agent of the computer that runs Pulumi: required, irrelevant, or in the way."""

import socket
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest

from components import ssh_agent
from components.machine import Ssh, connection
from tests.support.ssh_agent import agent as running_agent
from tests.support.sshd import new_key

# As the plugin does, in another process.
DIALS = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@pytest.fixture(autouse=True)
def _update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.mark.parametrize("left", ["nothing", "its directory", "its socket"])
def test_a_dead_agent_socket_is_replaced_during_the_run(left: str, tmp_path: Path) -> None:
    place = tmp_path / "ssh-x" / "agent.1"
    if left != "nothing":
        place.parent.mkdir()
    if left == "its socket":
        with socket.socket(socket.AF_UNIX) as ended:
            ended.bind(str(place))
    program = (
        "import os, subprocess, sys; from components import ssh_agent; "
        "ssh_agent.ready(needed=False); ssh_agent.ready(needed=False); "
        f"subprocess.run([sys.executable, '-c', {DIALS!r}, os.environ['SSH_AUTH_SOCK']], check=True)"
    )
    repo = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=repo, env={"SSH_AUTH_SOCK": str(place)}, check=True, timeout=60)
    assert place.parent.exists() == (left != "nothing")
    assert not place.exists()


def test_a_file_that_is_no_socket_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "notes"
    file.write_text("mine")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(file))
    with pytest.raises(ssh_agent.AgentError, match="env -u SSH_AUTH_SOCK pulumi up"):
        ssh_agent.ready(needed=False)
    assert file.read_text() == "mine"


def test_an_agent_that_answers_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_agent(tmp_path) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        inode = path.stat().st_ino
        ssh_agent.ready(needed=False)
        assert path.stat().st_ino == inode
        with pytest.raises(ssh_agent.AgentError, match=r"holds none\..*ssh-add"):
            ssh_agent.ready(needed=True)


def test_a_preview_warns_once_that_an_update_would_find_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    warned: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    for host in ("10.0.0.1", "10.0.0.2"):
        connection({"host": host, "host_key": "ssh-ed25519 AAAA"})
    (text,) = warned
    assert text.startswith("`pulumi up` would fail on this computer. ")
    assert "SSH_AUTH_SOCK names none. Start one and load the key" in text


def test_an_update_requires_the_keys_in_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh: Ssh = {"host": "10.0.0.1", "host_key": "ssh-ed25519 AAAA"}
    with pytest.raises(ssh_agent.AgentError, match="SSH_AUTH_SOCK names none"):
        connection(ssh)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(ssh_agent.AgentError, match=r"no agent answers at .*gone \(no such file or directory\)"):
        connection(ssh)
    with running_agent(tmp_path, new_key()[0]) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        made = connection(ssh)
    assert made.private_key is None
    # The plugin finds it by itself: as an input, a path would differ between operators and run every command again.
    assert made.agent_socket_path is None


def test_a_preview_with_a_key_ignores_a_dead_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    ssh_agent.ready(needed=False)
    assert not (tmp_path / "gone").exists()

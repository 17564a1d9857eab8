"""The stand-in plugins as processes: they print a port, and end with the engine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

BIN = Path(__file__).resolve().parents[2] / "lab" / "plugins" / "bin"


def ask(port: int) -> tuple[str, provider_pb2.ConfigureResponse]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        handshake = stub.Handshake(provider_pb2.ProviderHandshakeRequest(), timeout=20)
        assert handshake.accept_secrets
        version = stub.GetPluginInfo(empty_pb2.Empty(), timeout=20).version
        return version, stub.Configure(provider_pb2.ConfigureRequest(), timeout=20)


@pytest.mark.parametrize(("name", "version"), [("command", "1.2.1"), ("tls", "5.6.2"), ("hcloud", "1.43.3")])
def test_a_plugin_prints_its_port_and_answers_from_anywhere(name: str, version: str, tmp_path: Path) -> None:
    link = tmp_path / f"pulumi-resource-{name}"
    link.symlink_to(BIN / link.name)
    environ = {**os.environ, "HCLOUD_TOKEN": "token", "HCLOUD_ENDPOINT": "http://127.0.0.1:1/v1"}
    command = [str(link), "127.0.0.1:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environ) as process:
        try:
            assert process.stdout is not None
            told, settings = ask(int(process.stdout.readline()))
        finally:
            process.kill()
    assert told == version
    assert settings.acceptSecrets
    assert settings.acceptOutputs
    assert settings.acceptResources
    assert settings.supportsPreview


@pytest.mark.parametrize(
    ("load", "heavy"),
    [
        ("import plugins.command, plugins.tls", {"asyncio", "hashlib", "paramiko", "cryptography"}),
        (
            "from plugins.hcloud import make_plugin; make_plugin()",
            {"pulumi_hcloud", "hcloud", "requests", "http.client"},
        ),
        ("import plugins.remote", {"asyncio", "invoke", "importlib.metadata"}),
    ],
)
def test_slow_modules_are_imported_only_when_needed(load: str, heavy: set[str]) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from plugins.start import import_lightly; import_lightly();"
        f"{load}; print(*sys.modules)"
    )
    command = [sys.executable, "-I", "-c", program, str(BIN.parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert not set(done.stdout.split()) & {*heavy, "pulumi.resource", "pulumi.runtime.stack", "lab"}


def test_a_plugin_ends_when_its_engine_is_killed(tmp_path: Path) -> None:
    # The shell replaces the engine.
    script = f"{BIN}/pulumi-resource-tls > {tmp_path}/port & echo $!; wait"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        plugin = int(engine.stdout.readline())
        deadline = time.monotonic() + 20
        while not (tmp_path / "port").exists() or not (tmp_path / "port").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        engine.kill()
    while _runs(plugin):
        assert time.monotonic() < deadline, "the plugin is still there"
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # It may have no parent to reap it.
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

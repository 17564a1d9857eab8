"""The stand-in for the plugin hcloud as the engine meets it: a program that prints its port, soon."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

BIN = Path(__file__).resolve().parents[2] / "lab" / "plugins" / "bin"


def test_the_plugin_prints_its_port_and_answers_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "pulumi-resource-hcloud"
    link.symlink_to(BIN / link.name)
    started = time.monotonic()
    with subprocess.Popen([link, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            took = time.monotonic() - started
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=20).version == "1.43.3"
        finally:
            process.kill()
    # A tenth of a second on a computer at rest; other tests may be running.
    assert took < 2


def test_nothing_heavy_is_imported_at_the_start() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from plugins.start import skip_the_sdk; skip_the_sdk();"
        "from plugins.hcloud import make_plugin; make_plugin(); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(BIN.parents[1])],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"pulumi_hcloud", "hcloud", "requests", "http.client", "pulumi.resource", "lab"}

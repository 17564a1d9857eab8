"""Which plugins an engine run of the tests attaches to, and how long they live."""

import os
import re
import socket
import time
from pathlib import Path

import pytest

from tests.support.forks import forked

BIN = Path(__file__).resolve().parents[2] / "lab" / "plugins" / "bin"


def ports(environ: dict[str, str]) -> dict[str, int]:
    """Plugin -> port."""
    return {name: int(port) for name, port in re.findall(r"(\w+):(\d+)", environ["PULUMI_DEBUG_PROVIDERS"])}


def test_only_stand_ins_of_the_stacks_plugins_are_attached(tmp_path: Path) -> None:
    official = tmp_path / "pulumi-resource-tls"
    official.write_text("#!/bin/sh\n")
    official.chmod(0o755)
    with forked({"PATH": str(BIN)}, {"hcloud:token": "x", "external-etcd:quota": "2GiB"}) as environ:
        assert ports(environ).keys() == {"command", "tls", "hcloud"}
    with forked({"PATH": f"{tmp_path}{os.pathsep}{BIN}"}, {}) as environ:
        assert ports(environ).keys() == {"command"}


def test_a_stand_in_ends_with_its_run() -> None:
    with forked({"PATH": str(BIN)}, {}) as environ:
        address = "127.0.0.1", ports(environ)["tls"]
        socket.create_connection(address, 20).close()
    deadline = time.monotonic() + 20
    with pytest.raises(ConnectionRefusedError):
        while time.monotonic() < deadline:
            socket.create_connection(address, 20).close()
            time.sleep(0.02)

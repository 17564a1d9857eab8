"""Plugins and program of an engine run in tests, as forks of one process that has already imported everything.

The larger part of a run's CPU time is the start of Python and imports, in the program and in every stand-in. Here they
happen once in a pytest process. The engine attaches to the stand-ins (`PULUMI_DEBUG_PROVIDERS`). The language host
starts Python for the program as ever, and `quick/sitecustomize.py` hands over to a fork.
"""

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_REPO = Path(__file__).resolve().parents[2]
_STAND_INS = _REPO / "lab" / "plugins" / "bin"
_starting = threading.Lock()
_cpu_seconds = 0.0


def cpu_seconds() -> float:
    """The CPU time of the process that forks, and of the forks that had ended at the end of the last run."""
    return _cpu_seconds


@contextlib.contextmanager
def forked(environ: Mapping[str, str], config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What the environment of an engine run needs in addition; the stand-ins end with the block.

    Args:
        environ: the run's environment.
        config: the stack's configuration. It has keys of a cloud's plugin if the program needs that plugin.
    """
    with _starting:
        server = _server()
    wanted = ["command", "tls", *({"aws", "hcloud"} & {key.partition(":")[0] for key in config})]
    names = [name for name in wanted if _is_stand_in(name, environ["PATH"])]
    with _asked(server, {"plugins": names, "environ": dict(environ)}) as ports:
        attached = ",".join(f"{name}:{port}" for name, port in ports.items())
        # Not for programs of another Python than this one.
        yield {"EXTERNAL_ETCD_FORKS": f"{server}:{sys.prefix}", "PULUMI_DEBUG_PROVIDERS": attached}
    global _cpu_seconds
    with _asked(server, {}) as _cpu_seconds:
        pass


@contextlib.contextmanager
def _asked(server: str, request: Mapping[str, Any]) -> Iterator[Any]:
    """The answer of the process that forks; its fork ends with the block."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{server}")
        connection.sendall(json.dumps(request).encode() + b"\n")
        yield json.loads(connection.makefile().readline())


def _is_stand_in(name: str, path: str) -> bool:
    found = shutil.which(f"pulumi-resource-{name}", path=path)
    return found is not None and Path(found).resolve().parent == _STAND_INS


@functools.cache
def _server() -> str:
    """The name of the socket of the process that forks. This call starts it; it ends with this process."""
    name = f"external-etcd-forks-{os.getpid()}"
    command = ["nice", "-n", "10", sys.executable, "-m", "tests.support.fork_server", name]
    process = subprocess.Popen(command, cwd=_REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return name

"""The process that imports everything once and forks for the plugins and the program of every engine run.

See forks.py, which starts it. Its argument is the name of its socket. It has no threads, so that forks are safe.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

from lab.plugins.aws.cloud import session
from lab.plugins.server import serve
from lab.plugins.start import plugin

# Plugin -> what its programs import, and its stand-in imports late.
_MODULES: Mapping[str, tuple[str, ...]] = {
    "command": ("stacks.runtime", "stacks.hosts.build", "lab.plugins.remote"),
    "tls": ("lab.plugins.pki",),
    "hcloud": ("stacks.hetzner.build",),
    "aws": ("stacks.aws.build",),
}
_MOST = 1 << 20


def main() -> None:
    """Fork for every request, until the process that started this one ends."""
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{sys.argv[1]}")
        listening.listen(64)
        print("ready", flush=True)
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            connection, streams, request = _request(listening)
            with connection:
                _answer(listening, connection, streams, request)
            for stream in streams:
                os.close(stream)


def _answer(
    listening: socket.socket, connection: socket.socket, streams: list[int], request: Mapping[str, Any]
) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    if not request:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        connection.sendall(b"%f\n" % sum(each.ru_utime + each.ru_stime for each in used))
        return
    for name in request.get("plugins", ()):
        _prepare(name)
    gc.freeze()
    if os.fork() == 0:
        listening.close()
        _child(connection, streams, request)


def _request(listening: socket.socket) -> tuple[socket.socket, list[int], dict[str, Any]]:
    """The next connection, its file descriptors, and its request: a line of JSON."""
    connection, _ = listening.accept()
    text, streams, _, _ = socket.recv_fds(connection, _MOST, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(_MOST)
    return connection, streams, json.loads(text)


@functools.cache
def _prepare(name: str) -> None:
    """Import what a plugin and its programs need, and let the stand-in read its SDK."""
    for module in _MODULES[name]:
        importlib.import_module(module)
    stand_in = plugin(name)
    _ = stand_in.settings and stand_in.settings(), [each.fields for each in stand_in.resources.values()]
    if name == "aws":
        # Reads the description of EC2; sends nothing.
        keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "none")
        session().create_client("ec2", region_name="eu-central-1", endpoint_url="http://127.0.0.1:9", **keys)


def _child(connection: socket.socket, streams: list[int], request: Mapping[str, Any]) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(request["environ"])
        code = _program(connection, streams, request) if streams else _plugins(connection, request["plugins"])
    finally:
        os._exit(code)


def _plugins(connection: socket.socket, names: list[str]) -> int:
    """Serve these stand-ins until the connection ends."""
    served = {name: serve(plugin(name)) for name in names}
    connection.sendall(json.dumps({name: port for name, (_, port) in served.items()}).encode() + b"\n")
    connection.recv(1)
    return 0


def _program(connection: socket.socket, streams: list[int], request: Mapping[str, Any]) -> int:
    """Run a program with the standard streams of the process that asks, and send it the exit status."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    os.chdir(request["directory"])
    sys.argv[:], sys.path[:] = request["arguments"], request["path"]

    def end_with_that_process() -> None:
        connection.recv(1)
        os._exit(1)

    threading.Thread(target=end_with_that_process, daemon=True).start()
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([code]))
    return code


if __name__ == "__main__":
    main()

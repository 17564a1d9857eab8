"""For programs that the engine runs in tests: they end before there is garbage worth the search for it.

A Pulumi program runs as a fork of a process that has imported everything, see tests/support/forks.py.
"""

import gc
import os
import sys

gc.disable()


def _hand_over(name: str, program: int) -> None:
    """Let a fork run this program with these standard streams, and end as it ends."""
    import json  # noqa: PLC0415
    import socket  # noqa: PLC0415

    arguments = sys.orig_argv[program:]
    path = [os.path.dirname(arguments[0]), *sys.path]  # noqa: PTH120
    request = {"environ": dict(os.environ), "directory": os.getcwd(), "arguments": arguments, "path": path}  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{name}")
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        os._exit((connection.recv(1) or b"\1")[0])


_name, _, _prefix = os.environ.get("EXTERNAL_ETCD_FORKS", "").partition(":")
if _name and os.path.realpath(_prefix) == os.path.realpath(sys.prefix):
    for _number, _word in enumerate(sys.orig_argv):
        if _word.endswith("/pulumi-language-python-exec"):
            _hand_over(_name, _number)

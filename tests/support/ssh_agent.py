"""An ssh agent for tests, with its own socket."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.waiting import every


@contextlib.contextmanager
def agent(directory: Path, *private_keys: str) -> Iterator[Path]:
    """Run ssh-agent with these keys during the block; yields its socket."""
    path = directory / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        for _ in every(0.01, seconds=10):
            with socket.socket(socket.AF_UNIX) as client:
                # The file is there before the agent listens.
                if client.connect_ex(str(path)) == 0:
                    break
        for key in private_keys:
            environ = {**os.environ, "SSH_AUTH_SOCK": str(path)}
            subprocess.run(["ssh-add", "-q", "-"], input=key, text=True, env=environ, check=True, timeout=20)
        yield path
    finally:
        process.terminate()
        process.wait(20)

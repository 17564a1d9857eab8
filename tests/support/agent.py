"""An ssh agent for tests, with its own socket."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def agent(directory: Path, *private_keys: str) -> Iterator[Path]:
    """Run ssh-agent with these keys during the block; yields its socket."""
    path = directory / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        for key in private_keys:
            environ = {**os.environ, "SSH_AUTH_SOCK": str(path)}
            subprocess.run(["ssh-add", "-q", "-"], input=key, text=True, env=environ, check=True, timeout=20)
        yield path
    finally:
        process.terminate()
        process.wait(20)

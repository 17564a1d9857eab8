"""A disk that is slow to sync. The lab's machines have theirs in memory, so the system calls themselves take longer."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab import Machine
from tools.prometheus import ensure_strace

from .waiting import every


@contextlib.contextmanager
def slow_syncs(machine: Machine, seconds: float) -> Iterator[None]:
    """Each sync of this machine's etcd takes so long, at least, during the block."""
    folder = ensure_strace()
    etcd = machine.job.command("etcd")
    assert etcd is not None, f"etcd does not run on {machine.name}"
    calls = "fdatasync,fsync"
    late = ["-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter={int(seconds * 1e6)}"]
    command = [str(folder / "strace"), "-f", "-qq", "-o", "/dev/null", *late, "-p", str(etcd[0])]
    process = subprocess.Popen(command, env={**os.environ, "LD_LIBRARY_PATH": str(folder)})
    try:
        status = Path(f"/proc/{etcd[0]}/status")
        assert any(f"TracerPid:\t{process.pid}\n" in status.read_text() for _ in every(0.1, seconds=20))
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)

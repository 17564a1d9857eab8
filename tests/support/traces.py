"""What of a lab is on this computer, outside its own files too."""

import contextlib
import os
import time
from pathlib import Path

from lab import Lab, host


def traces(lab: Lab) -> list[str]:
    """Everything on this computer that belongs to `lab`."""
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(lab.dir) in line]
    found += [str(path) for path in Path("/sys/class/net").iterdir() if lab.id in path.name]
    found += [line for line in host.call("ip", "netns", "list").stdout.splitlines() if lab.id in line]
    found += [line for line in host.call("nft", "list", "ruleset").stdout.splitlines() if lab.id in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = process.read_bytes().decode(errors="replace")
            if (lab.id in words or str(lab.dir) in words) and process.parent.name != str(os.getpid()):
                found.append(f"{process.parent.name}: {words}")
        with contextlib.suppress(OSError):
            if lab.id in (process.parent / "cgroup").read_text():
                found.append(f"{process.parent.name} is in a cgroup of the lab")
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        found += [f"{directory}/{name}" for name in names if lab.id in name]
        names[:] = [name for name in names if lab.id not in name]
    for place in (Path("/run/systemd/nspawn/propagate"), Path("/run/systemd/nspawn/unix-export"), host.RUN):
        if place.is_dir():
            found += [str(path) for path in place.iterdir() if lab.id in path.name]
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            found += [str(file)] if str(lab.dir) in file.read_text() else []
    if lab.dir.exists():
        found += [str(path) for path in lab.dir.iterdir()]
    return found


def lasting_traces(lab: Lab) -> list[str]:
    """The traces after PID 1 has had time to reap its children."""
    deadline = time.monotonic() + 5
    while (found := traces(lab)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found

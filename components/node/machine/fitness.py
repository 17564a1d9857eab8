"""Whether this machine is fit to hold a member: systemd, first boot, memory, address."""

from __future__ import annotations

import errno
import shutil
import socket
from pathlib import Path

from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say, size, until
from ..shared.spec import Spec

# Firmware, kernel and kdump reserve up to this share of a machine's nominal memory; the rest is MemTotal.
_KEPT_SHARE, _KEPT = 1 / 8, 128 << 20
_INTERFACE_SECONDS = 30.0


def check_systemd() -> None:
    """systemd runs this machine."""
    if not Path("/run/systemd/system").is_dir():
        raise NodeError("this machine is not run by systemd", "Use a machine with systemd, 249 or later.")


def wait_for_first_boot(seconds: float = 240) -> None:
    """Waits until cloud-init has finished the first boot, if the machine has it."""
    done = Path("/run/cloud-init/result.json")
    if done.exists() or shutil.which("cloud-init") is None:
        return
    phase("wait for the first boot to finish (cloud-init)")
    ended = run(["cloud-init", "status", "--wait"], seconds, check=False)
    # 2: finished with recoverable errors. 1: something in the user data failed, which may not concern us. What counts
    # is that it no longer changes the machine.
    if ended.returncode not in (0, 2):
        if not done.exists():
            raise NodeError(
                "the first boot has not finished: cloud-init status says "
                f"{(ended.stdout + ended.stderr).strip()[-200:]}",
                "See `cloud-init status --long` on the machine.",
            )
        say("first boot finished with errors, see `cloud-init status --long`")


def check_memory(spec: Spec) -> None:
    """The database fits into memory: etcd maps all of it, and reads from disk cost heartbeats."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
            # Nominal memory: a quota of 8GiB fits a machine sold with 8 GB, which shows 7.6 GiB.
            if spec.quota_bytes * (1 - _KEPT_SHARE) - _KEPT > total:
                raise NodeError(
                    f"the quota is {size(spec.quota_bytes)}, and this machine has {size(total)} of memory; the "
                    "database must fit into memory",
                    "Lower the quota or use a larger machine.",
                )


def check_address(spec: Spec) -> None:
    """The member's address is this machine's. A cloud may attach its network interface only after the first boot."""
    seconds = _INTERFACE_SECONDS if Path("/run/cloud-init").exists() else 0.0
    for left in until(seconds, every=0.5):
        error = _bind(spec.address)
        if error is None:
            return
        if error.errno != errno.EADDRNOTAVAIL:
            raise NodeError(
                f"members.{spec.member} is {spec.address}, which cannot be used here ({error.strerror})",
                "Check the machine's network.",
            )
        if left == seconds > 0:
            say(f"waits for the address {spec.address}")
    raise NodeError(
        f"members.{spec.member} is {spec.address}, but this machine has {_addresses()}",
        "Correct the address of the member, or the ssh host: they lead to different machines.",
    )


def _bind(address: str) -> OSError | None:
    """Why the address cannot be used on this machine; None when it can."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error
    return None


def _addresses() -> str:
    if shutil.which("ip", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        return "other addresses"
    lines = run(["ip", "-o", "addr", "show"], 10, check=False).stdout.splitlines()
    found = [words[3].split("/")[0] for words in map(str.split, lines) if len(words) > 3 and words[1] != "lo"]
    return ", ".join(found) or "no address"

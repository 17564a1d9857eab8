"""The Debian packages of the lab: containers for machines, their network, and clients."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping

from tools.base import ToolError, run, say

# package: one of its programs
LAB: Mapping[str, str] = {
    "systemd-container": "systemd-nspawn",
    "mmdebstrap": "mmdebstrap",
    "nftables": "nft",
    "iproute2": "ip",
    "procps": "sysctl",
    "openssh-client": "ssh",
    "openssl": "openssl",
}
APT_LIMIT = 600.0  # seconds
_APT = ("apt-get", "-o", "DPkg::Lock::Timeout=120")


def missing(packages: Mapping[str, str] = LAB) -> list[str]:
    """Return the packages whose program is missing on this computer, in order."""
    # Debian's default PATH of ordinary users lacks /usr/sbin.
    path = os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/sbin"])
    return [package for package, program in packages.items() if shutil.which(program, path=path) is None]


def can_install() -> bool:
    """Whether packages can be installed here without a prompt: as root, with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def update_lists() -> None:
    """Let apt-get read the lists of packages again. If it fails, the old lists may still work."""
    with contextlib.suppress(ToolError):
        run([*_APT, "update", "-q"], APT_LIMIT)


def install(packages: list[str]) -> None:
    """Install Debian packages.

    Raises:
        ToolError: apt-get failed or took more than APT_LIMIT seconds.
    """
    started = time.monotonic()
    say(f"installing the Debian packages {' '.join(packages)} ...")
    update_lists()
    command = [*_APT, "install", "-q", "-y", "--no-install-recommends", *packages]
    run(command, APT_LIMIT, f"apt-get install {' '.join(packages)}", environ={"DEBIAN_FRONTEND": "noninteractive"})
    say(f"installed, {time.monotonic() - started:.0f} s")


def ensure_packages() -> None:
    """Install the missing packages of the lab.

    Raises:
        ToolError: a package is missing and cannot be installed here.
    """
    absent = missing()
    if not absent:
        return
    if not can_install():
        raise ToolError(
            f"The lab needs these missing Debian packages: {' '.join(absent)}. "
            f"Install them as root: apt-get install {' '.join(absent)}"
        )
    install(absent)

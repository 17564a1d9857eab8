"""The base tree: one Debian, made once, kept in the cache, the read-only lower part of every machine's disk."""

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from . import disk, host
from .errors import LabError

_SUITE = "bookworm"
_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "udev",
    "openssh-server",
    "sudo",
    "ca-certificates",
    "iproute2",
    "nftables",
    "procps",
    "python3",
    "openssl",  # tests look at what a server really presents
    "libfaketime",  # tests of a wrong clock: a guest's own clock cannot be set
)
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "console-getty.service",
    "getty.target",
    "systemd-logind.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-journal-flush.service",
    "systemd-pstore.service",
    "sys-kernel-config.mount",
)
# Runs inside the new tree. A password of '*' is none that fits, but unlike '!' does not lock the account for sshd.
# UsePAM no: no logind session per command, which is most of what a short ssh command would wait for.
_CUSTOMISE = f"""\
useradd --create-home --gid operator --shell /bin/bash --password '*' operator
install -d -m 0700 -o operator -g operator /home/operator/.ssh
echo 'operator ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/operator
chmod 0440 /etc/sudoers.d/operator
rm -f /etc/ssh/ssh_host_* /etc/resolv.conf /etc/hostname
: >/etc/machine-id
cat >/etc/ssh/sshd_config.d/lab.conf <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
PrintMotd no
PrintLastLog no
X11Forwarding no
MaxSessions 100
MaxStartups 200:30:400
END
systemctl enable systemd-networkd.service ssh.service
systemctl mask {" ".join(_MASKED)}
"""


def recipe_hash() -> str:
    """Twelve hex digits that change with anything that goes into the tree but the packages' versions."""
    recipe = "\n".join((_SUITE, platform.machine(), *_PACKAGES, _CUSTOMISE))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def path() -> Path:
    """Where this recipe's tree is kept in the cache."""
    return host.cache() / "lab" / f"base-{recipe_hash()}"


def ensure(say: Callable[[str], None]) -> Path:
    """The base tree's path; made first if it is not in the cache, which takes about 25 s.

    Raises:
        LabError: mmdebstrap failed; with its last words.
    """
    base = path()
    if base.is_dir():
        return base
    base.parent.mkdir(parents=True, exist_ok=True)
    with host.locked(base.parent / "base.lock", timeout_hint="another lab, which makes the base tree,"):
        if not base.is_dir():
            say(f"making the machines' base tree (Debian {_SUITE}, once, about 300 MB in {base.parent})")
            _build(base)
    return base


def _build(base: Path) -> None:
    for left in base.parent.glob("base-*.new"):  # an interrupted build; whoever builds holds the lock
        disk.unmount_below(left)
        shutil.rmtree(left, ignore_errors=True)
    new = base.with_name(
        f"{base.name}.{os.getpid()}.new"
    )  # an orphan of an interrupted build may still write to its own
    with tempfile.TemporaryDirectory(prefix="lab-base-") as directory:
        hook = Path(directory) / "customise"
        hook.write_text(f"#!/bin/sh\nexec chroot \"$1\" /bin/sh -eu <<'CUSTOMISE'\n{_CUSTOMISE}CUSTOMISE\n")
        hook.chmod(0o755)
        argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(_PACKAGES)}"]
        argv += [f"--customize-hook={hook}", _SUITE, str(new)]
        if mirror := os.environ.get("LAB_DEBIAN_MIRROR"):
            argv.append(mirror)
        done = host.call(*argv, timeout=900, check=False)
    if done.returncode:
        shutil.rmtree(new, ignore_errors=True)
        words = "\n  ".join(done.stderr.strip().splitlines()[-8:])
        raise LabError(
            "mmdebstrap could not make the base tree. Is a Debian archive reachable (LAB_DEBIAN_MIRROR names another) "
            f"and debian-archive-keyring installed? Its last words:\n  {words}"
        )
    new.rename(base)

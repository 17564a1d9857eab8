"""Is this machine fit to hold a member? Every check says what it found, the rule, and what to do."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import struct
from pathlib import Path

from ..machine import ports
from ..protocol import wal
from ..shared import paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say, until, warn
from ..shared.spec import Spec
from . import systemd

_LEAST_FREE = 512 << 20
_IN_MEMORY = ("tmpfs", "ramfs")
# Of the memory that a machine was sold with, firmware, kernel and kdump keep up to so much; the rest is MemTotal.
_KEPT_SHARE, _KEPT = 1 / 8, 128 << 20
_CARD_SECONDS = 30.0
_CLOCK_ERROR = 5  # adjtimex: TIME_ERROR, not synchronised
_UNKNOWN_ERROR = 16_000_000  # µs: what the kernel takes when nobody tells it, see adjtimex(2) and timedatectl
_MAXERROR_AT = 24  # bytes into struct timex, where a long has 8
_TIME_SERVICES = ("systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd")


def check_systemd() -> None:
    """systemd runs this machine."""
    if not Path("/run/systemd/system").is_dir():
        raise NodeError("this machine is not run by systemd", "Use a machine with systemd, 249 or later.")


def wait_for_first_boot(seconds: float = 240) -> None:
    """Waits until cloud-init has done what it does on a first boot, if the machine has it."""
    done = Path("/run/cloud-init/result.json")
    if done.exists() or shutil.which("cloud-init") is None:
        return
    phase("wait for the first boot to finish (cloud-init)")
    ended = run(["cloud-init", "status", "--wait"], seconds, check=False)
    # 2: finished with recoverable errors. 1 is told when anything in the user data failed, which may be none of our
    # business: what counts here is that it no longer changes the machine.
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
            # As it was sold: a quota of 8GiB is for a machine of 8 GB, which shows 7.6 GiB.
            if spec.quota_bytes * (1 - _KEPT_SHARE) - _KEPT > total:
                raise NodeError(
                    f"the quota is {_size(spec.quota_bytes)}, and this machine has {_size(total)} of memory; the "
                    "database must fit into memory",
                    "Lower the quota or use a larger machine.",
                )


def check_address(spec: Spec) -> None:
    """The member's address is this machine's; a cloud may plug in the card for it only after the first boot."""
    seconds = _CARD_SECONDS if Path("/run/cloud-init").exists() else 0.0
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


def check_foreign_etcd(spec: Spec) -> None:
    """No other etcd is installed here, and nothing else has the ports."""
    unit = systemd.foreign_unit()
    if unit is not None:
        raise NodeError(
            f"this machine has an etcd already: {unit} was not written by etcd-node, and is left alone",
            "Use another machine; or, if that etcd is not needed, stop it and remove its package or this file, "
            "then run again.",
        )
    metrics = spec.metrics_url.rsplit(":", 1)[-1]
    wanted = [spec.client_port, spec.peer_port, *([int(metrics)] if metrics.isdigit() else [])]
    for taken in ports.foreign_listeners(wanted, [spec.address, "127.0.0.1"]):
        raise NodeError(
            f"port {taken.port} at {taken.address} is taken by process {taken.pid} ({taken.program}), which is "
            "not this member",
            "Stop that program for good, or use another machine, then run again.",
        )


def check_settings() -> None:
    """Nobody else gives etcd settings: it reads them from its environment, too, and nothing here would know of them."""
    found = systemd.foreign_variables()
    if found:
        said = ", ".join(f"{name} ({where})" for name, where in found.items())
        raise NodeError(
            f"etcd's settings would come from somebody else as well: {said}; nothing was changed",
            "Take these variables away there (after a change of a file `systemctl daemon-reload`), then run again. "
            "What etcd is to be set to belongs into the configuration, under `flags`.",
        )


def check_disk(spec: Spec) -> None:
    """The data directory has room. A member that holds data already is never refused for what it has filled itself."""
    if wal.exists(spec.data_directory):
        return
    place = Path(spec.data_directory)
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    if usage.free < _LEAST_FREE:
        raise NodeError(
            f"{spec.data_directory} has {_size(usage.free)} free; a new member needs {_size(_LEAST_FREE)} at least",
            "Make room on that file system, or put the data directory on another.",
        )
    # Log and snapshots come on top of the database, but few use even half of a quota: only what cannot be is refused.
    if usage.total < spec.quota_bytes:
        raise NodeError(
            f"the quota is {_size(spec.quota_bytes)}, and the file system of {spec.data_directory} has "
            f"{_size(usage.total)} in all",
            "Lower the quota or use a larger disk.",
        )


def check_place(spec: Spec) -> None:
    """The data directory is where data outlive a reboot and a `retire`. What a link points to is what counts.

    Raises:
        NodeError: it is not, or that cannot be seen now because what it points to is not there.
    """
    place = Path(spec.data_directory)
    _refuse_dangling(place)
    real = Path(os.path.realpath(place))
    for own in (paths.RELEASES, paths.PKI.parent, paths.STATE, paths.PROGRAM, paths.RUN):
        if own in (real, *real.parents) or real in own.parents:
            raise NodeError(
                f"{place} leads to {real}, which is not apart from {own}: what this program has made there is removed "
                "by `pulumi destroy`",
                "Let it lead to a directory that is for etcd's data alone.",
            )
    # Members whose data are there already are not stopped for it.
    kind = file_system_of(mount_of(place))
    if kind in _IN_MEMORY and not wal.exists(spec.data_directory):
        raise NodeError(
            f"{place} is on a file system in memory ({kind} at {mount_of(place)}), which every reboot empties; a "
            "member that loses its data has to be replaced",
            "Put the data directory on a disk, then run again.",
        )


def _refuse_dangling(place: Path) -> None:
    for path in [*reversed(place.parents), place]:
        if path.is_symlink() and not path.exists():
            raise NodeError(
                f"{path} is a link to {os.path.realpath(path)}, which is not there",
                "Mount the disk that holds it, or make that directory, then run again. If that disk is lost, mount a "
                "new one in its place.",
            )


def file_system_of(mount: str) -> str:
    """Type of the file system that is mounted at a mount point, such as `ext4`; empty when nobody says."""
    kind = ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        # Blanks in paths are \040. What was mounted there last is what is seen.
        if before.split()[4].encode().decode("unicode_escape") == mount:
            kind = after.split()[0]
    return kind


def check_mount(spec: Spec, known: str, *, begun: bool) -> None:
    """The data directory is on the file system where it has been before; a disk not mounted is not lost.

    Args:
        spec: the wanted state.
        known: the mount point below which the data were; empty when nobody knows.
        begun: a member has had data here.

    Raises:
        NodeError: it is on another one. Where the data have been moved to another one, they are found there.
    """
    place = Path(spec.data_directory)
    _refuse_dangling(place)
    now = mount_of(place)
    if not known or now == known:
        return
    if Path(now) in Path(known).parents:
        raise NodeError(
            f"the data of {spec.member} are on the file system at {known}, which is not mounted now",
            "Mount it, then run again. If that disk is lost, make a new one and mount it there.",
        )
    if begun and not wal.exists(spec.data_directory):
        raise NodeError(
            f"the data of {spec.member} were on the file system at {known}; {place} is on the one at {now} now, which "
            "holds none of them",
            f"If they are still there, unmount {now} or move them, with owner and modes. If they are lost: "
            f"`etcd-node retire {spec.cluster}` on this machine, then run again with another `identity` for it.",
        )


def mount_of(path: Path) -> str:
    """The mount point below which the path is, or will be. What a link points to is what counts."""
    path = Path(os.path.realpath(path))
    while not os.path.ismount(path):
        path = path.parent
    return str(path)


def check_time_service(seconds: float = 30) -> None:
    """If a time service is active, it has synchronised the clock; waits for that a little. Warns where none is."""
    phase("wait for the clock")
    active = ""
    for left in until(seconds, every=1.0):
        if _synchronised():
            return
        if not active:
            states = run(["systemctl", "is-active", *_TIME_SERVICES], 20, check=False).stdout.split()
            active = next((name for name, state in zip(_TIME_SERVICES, states) if state == "active"), "")
            if not active:
                warn(
                    "no time service runs here: when this clock is wrong by seconds, certificates are not valid yet, "
                    "or no longer. Install chrony or systemd-timesyncd."
                )
                return
        if active.startswith("chrony") and _tracks():
            return
        if left == seconds:
            say(f"waits for {active} to synchronise the clock")
    raise NodeError(
        f"{active} has not synchronised the clock of this machine within {seconds:.0f} s",
        "Check that it reaches a time server (`timedatectl timesync-status`, `chronyc sources`), then run again.",
    )


def _synchronised() -> bool:
    """Whether somebody keeps the clock, as the kernel knows: also where nobody lets it copy the time to the hardware's
    clock, as chrony without `rtcsync`, for which it has the same flag."""
    # struct timex is 208 bytes; all zero it only asks.
    timex = ctypes.create_string_buffer(512)
    try:
        state = int(ctypes.CDLL(None, use_errno=True).adjtimex(timex))
    except (OSError, AttributeError):
        return True
    return state != _CLOCK_ERROR or 0 <= struct.unpack_from("@q", timex, _MAXERROR_AT)[0] < _UNKNOWN_ERROR


def _tracks() -> bool:
    """Whether chrony says so itself: where it may not set the clock, the kernel knows nothing of it."""
    if shutil.which("chronyc", path="/usr/bin:/usr/sbin:/bin:/sbin") is None:
        return False
    said = run(["chronyc", "-n", "tracking"], 10, check=False).stdout
    return any(line.startswith("Leap status") and line.rstrip().endswith("Normal") for line in said.splitlines())


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"

"""The rehearsal: before any etcd starts, its program and directories are tested within the limits of its real unit.

A oneshot unit below /run has the same limits, from the same renderer, and the files below etcd.service.d. In it, as
etcd's own user, `etcd --version` runs, and a file is written, renamed, synchronised and read back in the data
directory. Anything that would prevent etcd from starting or from using its data shows here, with its cause.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..machine import account
from ..protocol import wal
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say
from ..shared.spec import Spec
from . import manager, unit

_PREFIX = "etcd-rehearsal-"
_SECONDS = 20
_BEGAN = "the rehearsal has begun"

# Read from standard input by a Python of its own: etcd's user need not be able to read etcd-node.
_SCRIPT = f"""\
import errno, json, os, sys
data, certificates = sys.argv[1:]
print("{_BEGAN}", flush=True)
doing, path = "", ""
try:
    for place in (data, certificates):
        parts = place.split("/")
        for count in range(1, len(parts) + 1):
            doing, path = "enter", "/".join(parts[:count]) or "/"
            os.stat(path + "/.")
    doing = "read"
    os.listdir(path)
    doing, path = "write to", data
    fresh, kept = os.path.join(data, ".etcd-rehearsal.new"), os.path.join(data, ".etcd-rehearsal")
    try:
        with open(fresh, "w") as file:
            file.write("{_BEGAN}")
            file.flush()
            os.fsync(file.fileno())
        os.rename(fresh, kept)
        directory = os.open(data, os.O_RDONLY)
        os.fsync(directory)
        with open(kept) as file:
            if file.read() != "{_BEGAN}":
                raise OSError(errno.EIO, "what was read is not what was written")
    finally:
        for name in (fresh, kept):
            try:
                os.unlink(name)
            except FileNotFoundError:
                pass
except OSError as error:
    print(json.dumps(dict(doing=doing, path=path, errno=error.errno, error=error.strerror)), flush=True)
    sys.exit(1)
"""
_FULL = (errno.ENOSPC, errno.EDQUOT)
# By ProtectHome and PrivateTmp.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108

# What systemd exits with when it cannot set up one of the limits -> which one (systemd.exec(5), process exit codes).
_STEPS: Mapping[int, str] = {
    200: "a working directory",
    201: "the priority (Nice)",
    204: "memory for the process",
    205: "the number of open files (LimitNOFILE)",
    206: "the protection from the kernel's killer (OOMScoreAdjust)",
    211: "the priority on the disk (IOSchedulingClass)",
    213: "the secure bits of the process",
    214: "the scheduling policy",
    215: "the CPUs that it may use",
    218: "the capabilities (CapabilityBoundingSet)",
    219: "its control group",
    224: "a PAM session",
    225: "a network of its own (PrivateNetwork)",
    227: "NoNewPrivileges",
    228: "the filter of system calls (SystemCallFilter)",
    229: "its SELinux label",
    230: "LockPersonality",
    231: "its AppArmor profile",
    232: "the filter of address families (RestrictAddressFamilies)",
    237: "a kernel keyring (KeyringMode)",
    245: "a BPF filter",
}
# Input and output, which etcd's unit does not set: a failure there is the rehearsal's own.
_OWN_STEPS = (208, 209, 222)
_NOT_A_PATH = ("Operation not permitted", "Permission denied", "Invalid argument", "No space left on device")


@dataclass(frozen=True)
class Outcome:
    """The result of a failed rehearsal."""

    result: str
    """systemd's word: exit-code, signal, timeout, resources, ..."""
    status: int
    """Exit code or signal of the last process; from 200 to 245 systemd's own."""
    output: str
    """Output of the programs."""
    told: Sequence[str]
    """Systemd's messages: lines of the journal, or of systemctl."""


def render(spec: Spec, drop_ins: Sequence[str], output: Path) -> str:
    """The rehearsal's unit: its commands come last, so that no drop-in changes them.

    Args:
        drop_ins: contents of the files below etcd.service.d, in their order.
        output: file for the programs' output.
    """
    program = unit.command(spec)[0]
    script = base64.b64encode(_SCRIPT.encode()).decode()
    others = "".join(f"{text.rstrip()}\n\n" for text in drop_ins)
    return f"""\
{unit.MARK}; it goes when the rehearsal is over.
[Unit]
Description=Rehearsal of etcd's unit
RequiresMountsFor={unit.mounts(spec.data_directory)}

[Service]
{unit.limits(spec)}
{others}[Unit]
ConditionPathExists=
AssertPathExists=

[Service]
Type=oneshot
RemainAfterExit=no
Restart=no
TimeoutStartSec={_SECONDS}
ExecCondition=
ExecStartPre=
ExecStart=
ExecStart={program} --version
ExecStart={sys.executable} -I - {spec.data_directory} {paths.PKI}
ExecStartPost=
ExecStop=
ExecStopPost=
StandardInput=data
StandardInputText=
StandardInputData={script}
StandardOutput=file:{output}
StandardError=inherit
"""


def rehearse(spec: Spec) -> None:
    """Runs the rehearsal, unless etcd runs here within these limits already.

    Raises:
        NodeError: etcd could not run on this machine; says why.
    """
    if manager.show().runs and _is_installed(spec):
        return
    phase("rehearse etcd's unit")
    outcome = _perform(spec)
    if outcome is None:
        return
    said = explain(spec, outcome)
    if said is not None:
        raise said
    words = (outcome.output.splitlines() or [outcome.result])[-1]
    say(f"not all of etcd's unit could be tried before its start ({words[:200]})")


def _is_installed(spec: Spec) -> bool:
    text = (files.read_bytes(paths.UNIT_FILE) or b"").decode(errors="replace")
    return unit.limits(spec) in text and f"ExecStart={unit.command(spec)[0]} " in text


def _perform(spec: Spec) -> Outcome | None:
    """Runs the unit; None when it has succeeded."""
    place = paths.UNIT_DIRECTORIES[1]
    for left_over in place.glob(f"{_PREFIX}*.service"):
        files.remove(left_over)
    # A new name each time: an unknown unit needs no daemon-reload.
    path = place / f"{_PREFIX}{os.getpid()}.service"
    output = paths.RUN / path.with_suffix(".out").name
    files.directory(paths.RUN, 0o700)
    files.remove(output)
    files.directory(place)
    files.write(path, render(spec, _drop_ins(), output))
    try:
        done = run(["systemctl", "start", path.name], _SECONDS + 40, check=False)
        if done.returncode == 0:
            return None
        asked = ["systemctl", "show", path.name, "--property=Result,ExecMainStatus"]
        values = dict(line.partition("=")[::2] for line in run(asked, 20).stdout.splitlines())
        run(["journalctl", "--sync"], 20, check=False)
        log = run(["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "20", "-u", path.name], 20, check=False).stdout
        run(["systemctl", "reset-failed", path.name], 20, check=False)
        return Outcome(
            result=values.get("Result", ""),
            status=int(values.get("ExecMainStatus", "0") or 0),
            output=(files.read_bytes(output) or b"").decode(errors="replace"),
            told=[*log.splitlines(), *done.stderr.splitlines()],
        )
    finally:
        for each in (path, output):
            files.remove(each)
        files.remove_empty([paths.RUN])


def _drop_ins() -> list[str]:
    """Drop-ins of others in etcd.service.d, in systemd's order; a name hides the same name in later directories."""
    found: dict[str, Path] = {}
    for directory in paths.UNIT_DIRECTORIES:
        for path in (directory / f"{paths.UNIT}.d").glob("*.conf"):
            found.setdefault(path.name, path)
    ours = paths.FIREWALL_DROP_IN.name
    return [(files.read_bytes(found[name]) or b"").decode(errors="replace") for name in sorted(found) if name != ours]


def explain(spec: Spec, outcome: Outcome) -> NodeError | None:
    """Why etcd could not run, with the remedy; None if no cause is known, but not everything could be tested."""
    program = unit.command(spec)[0]
    lines = outcome.output.splitlines()
    failed = next((json.loads(line) for line in lines if line.startswith('{"doing"')), None)
    if failed is not None:
        return _directory_error(spec, failed)
    etcd_ran = any(line.startswith("etcd Version") for line in lines)
    if outcome.result == "exit-code" and (outcome.status in _OWN_STEPS or (etcd_ran and _BEGAN not in outcome.output)):
        return None
    if outcome.result == "exit-code" and 200 <= outcome.status <= 245:
        return _limit_error(spec, outcome)
    words = "; ".join([*lines, *outcome.told][-3:]) or "it said nothing"
    if outcome.result == "exit-code":
        return NodeError(
            f"`{program} --version` fails on this machine as {paths.USER} ({outcome.status}: {words})",
            "Remove the cause, then run again.",
        )
    if outcome.result in ("signal", "core-dump"):
        return NodeError(
            f"`{program} --version` was ended by signal {outcome.status} on this machine",
            "Does the release support the processor, and does a policy or a limit forbid it (`dmesg`, `ausearch -m "
            "avc`)? "
            "Remove the cause, then run again.",
        )
    return NodeError(
        f"systemd cannot run etcd's unit on this machine ({outcome.result or 'no result'}: {words})",
        f"See `journalctl -b` on the machine, and `systemctl cat {paths.UNIT}` for what others have added to the unit; "
        "remove the cause, then run again.",
    )


def _directory_error(spec: Spec, failed: Mapping[str, object]) -> NodeError | None:
    number, doing, path = failed["errno"], failed["doing"], Path(str(failed["path"]))
    if number in _FULL and wal.exists(spec.data_directory):
        return None  # a member is never refused for the space that it uses
    real = Path(os.path.realpath(path))
    leads = "" if real == path else f", which leads to {real}"
    cause = f"within its unit, etcd's user {paths.USER} cannot {doing} {path}{leads} ({failed['error']})"
    closed = _closed(real) if doing == "enter" else None
    hidden = next((each for each in _HIDDEN if each in (str(real), *map(str, real.parents))), None)
    if hidden is not None or number == errno.ENOENT:
        cause += f": the unit hides {hidden or real} from etcd"
        remedy = "Let the data directory lead to a place that it can use (not below /home, /root or /tmp), then run "
        "again."
    elif closed is not None:
        cause += f": that directory is closed to it (mode {closed:04o})"
        remedy = f"Open it (`chmod o+x {real}`), or choose another data directory, then run again."
    elif number == errno.EROFS:
        remedy = (
            f"Is it mounted read-only (`findmnt -T {real}`, `dmesg`), or has someone added that to the unit "
            f"(`systemctl cat {paths.UNIT}`)? Remove the cause, then run again."
        )
    elif number in _FULL:
        remedy = "Make room there, then run again."
    else:
        remedy = (
            f"Look at owner and mode (`namei -l {real}`), and at policies (SELinux: `ausearch -m avc`, "
            f"`restorecon -R {real}`), then run again."
        )
    return NodeError(cause, remedy)


def _closed(path: Path) -> int | None:
    """The mode of a directory, if only its mode denies access to etcd's user; else None."""
    user = account.find()
    if user is None or not path.exists():
        return None
    found = path.stat()
    shift = 6 if found.st_uid == user.uid else 3 if found.st_gid == user.gid else 0
    return None if found.st_mode >> shift & 1 else found.st_mode & 0o7777


def _limit_error(spec: Spec, outcome: Outcome) -> NodeError:
    """Explains systemd's own exit codes."""
    program = Path(unit.command(spec)[0])
    told = [line.split(": ", 1)[-1].replace("/run/systemd/unit-root", "") for line in outcome.told if "Failed" in line]
    detail = told[0] if told else f"systemd's exit code {outcome.status}"
    if outcome.status == 203:
        for path in [*reversed(program.parents), program]:
            if (mode := _closed(path)) is not None:
                return NodeError(
                    f"etcd's user {paths.USER} cannot execute {program}: {path} is closed to it (mode {mode:04o})",
                    f"Open it (`chmod o+x {path}`), then run again.",
                )
        return NodeError(
            f"etcd's user {paths.USER} may not execute {program} on this machine ({detail})",
            f"Is {paths.RELEASES} on a file system that is mounted noexec (`findmnt -T {program}`), or does a policy "
            f"forbid it (SELinux: `ausearch -m avc`, `restorecon -R {paths.RELEASES}`; AppArmor, fapolicyd: `dmesg`)? "
            "Allow it, then run again.",
        )
    if outcome.status in (216, 217):
        what = "its group" if outcome.status == 216 else "itself"
        return NodeError(
            f"systemd does not find the user {paths.USER}, or not {what} ({detail})",
            f"See `id {paths.USER}` and `getent group {paths.USER}` on the machine; a user of that name that exists "
            "needs a group that exists. Repair it, or remove the user, then run again.",
        )
    if outcome.status == 226:
        return _namespace_error(spec, detail)
    return NodeError(
        f"systemd cannot give etcd {_STEPS.get(outcome.status, 'one of the limits of its unit')} on this machine "
        f"({detail})",
        f"In a container, give it that right. `systemctl cat {paths.UNIT}` shows what others have added to the unit. "
        "Remove the cause, then run again.",
    )


def _namespace_error(spec: Spec, detail: str) -> NodeError:
    if "/" in detail.split(":", 1)[-1] and not detail.endswith(_NOT_A_PATH):
        return NodeError(
            f"systemd cannot make {spec.data_directory} writable for etcd alone ({detail})",
            "The unit hides that directory from etcd, or a part of it is missing: let the data directory lead to a "
            "place that it can use (not below /home, /root or /tmp), then run again.",
        )
    return NodeError(
        f"this machine cannot give etcd a view of its own on the file systems ({detail}): it has no mount namespaces "
        "for services",
        "In a container, allow them (nesting); or use a virtual machine. Then run again.",
    )

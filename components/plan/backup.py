"""Snapshots that are kept elsewhere: what can be configured, and what members get of it."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import Problem, did_you_mean, shown
from .releases import ARCHITECTURES, DEFAULT_MIRROR

DEFAULT_SCHEDULE = "hourly"
DEFAULT_DRILL = "*-*-* 03:40:00"
NEVER = "never"
"""Turns the drill off."""
PERIODS = ("hourly", "daily", "weekly")
_RELEASES = {
    "age": "https://github.com/FiloSottile/age/releases/download",
    "rclone": "https://github.com/rclone/rclone/releases/download",
}
_VERSIONS = {"age": "1.3.1", "rclone": "1.75.1"}
# age publishes no file with checksums.
_AGE_SHA256 = {
    "amd64": "bdc69c09cbdd6cf8b1f333d372a1f58247b3a33146406333e30c0f26e8f51377",
    "arm64": "c6878a324421b69e3e20b00ba17c04bc5c6dab0030cfe55bf8f68fa8d9e9093a",
}
_MOST_KEPT = 10_000
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
LOCK_MODES = ("GOVERNANCE", "COMPLIANCE")
_MOST_DAYS = 36_500
PLACES = ("s3", "ssh", "directory")
"""Arguments of a backup, of which one is given: where snapshots go."""
_RULE_STORE = f"Snapshots must go to exactly one place: {', '.join(PLACES[:-1])}, or {PLACES[-1]}"


@dataclass(frozen=True)
class LockPlan:
    """How long the store refuses to delete a snapshot."""

    mode: str
    """GOVERNANCE or COMPLIANCE."""
    days: int


@dataclass(frozen=True)
class S3Plan:
    """An S3-compatible store."""

    bucket: str
    endpoint: str = ""
    """Empty: AWS."""
    prefix: str = ""
    region: str = ""
    access_key_id: bool = False
    """Whether it is given; its value is not part of a plan."""
    secret_access_key: bool = False
    object_lock: LockPlan | None = None


@dataclass(frozen=True)
class SshPlan:
    """A directory on another machine, by sftp."""

    host: str
    user: str
    directory: str
    host_key: str
    """Type and base64."""
    port: int = 22
    private_key: bool = False
    """Whether it is given; its value is not part of a plan."""


@dataclass(frozen=True)
class BackupPlan:
    """Which snapshots are taken, where they go, who can read them, and which are kept."""

    recipients: Sequence[str]
    """Public keys of age: `age1...`."""
    schedule: str = DEFAULT_SCHEDULE
    """OnCalendar= of systemd."""
    s3: S3Plan | None = None
    directory: str | None = None
    keep: Mapping[str, int] | None = None
    """Period (`hourly`, `daily`, `weekly`) -> number. None: nothing is deleted."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Name of an archive of age or rclone -> its SHA-256."""
    drill: str = DEFAULT_DRILL
    """When a restore is proved: OnCalendar= of systemd, or `never`."""
    ssh: SshPlan | None = None

    @property
    def place(self) -> str:
        """The destination, in words."""
        if self.ssh is not None:
            return f"ssh:{self.ssh.user}@{self.ssh.host}:{self.ssh.directory}"
        return f"s3:{self.s3.bucket}/{self.s3.prefix}".rstrip("/") if self.s3 else self.directory or ""


def archives(program: str) -> dict[str, str]:
    """Architecture -> name of the archive of `age` or `rclone`."""
    ending = "tar.gz" if program == "age" else "zip"
    return {arch: f"{program}-v{_VERSIONS[program]}-linux-{arch}.{ending}" for arch in ARCHITECTURES}


def backup_spec(plan: BackupPlan, mirror: str) -> dict[str, Any]:
    """What `etcd-node` reads; no credentials.

    Args:
        mirror: the release mirror. Another one than the default has the archives of both programs too.
    """
    official = mirror.rstrip("/") == DEFAULT_MIRROR
    programs = {}
    for name, version in _VERSIONS.items():
        known = _AGE_SHA256 if official and name == "age" else {}
        stated = {arch: plan.sha256[each].lower() for arch, each in archives(name).items() if each in plan.sha256}
        base = _RELEASES[name] if official else f"{mirror.rstrip('/')}/{name}"
        programs[name] = {"version": version, "place": f"{base}/v{version}", "sha256": {**known, **stated}}
    store: dict[str, Any] = {"directory": plan.directory}
    if plan.s3 is not None:
        store = {"s3": {key: getattr(plan.s3, key) for key in ("endpoint", "bucket", "prefix", "region")}}
        if (lock := plan.s3.object_lock) is not None:
            # A number of days: rclone counts from the upload.
            store["s3"] |= {"object_lock_mode": lock.mode, "object_lock_retain_until_date": f"{lock.days}d"}
    if plan.ssh is not None:
        store = {"ssh": {key: str(getattr(plan.ssh, key)) for key in ("host", "port", "user", "directory")}}
        store["ssh"]["host_keys"] = " ".join(plan.ssh.host_key.split()[:2])
    return {
        "schedule": plan.schedule,
        "recipients": list(plan.recipients),
        **({} if plan.keep is None else {"keep": dict(plan.keep)}),
        **({} if plan.drill == NEVER else {"drill": plan.drill}),
        **store,
        "programs": programs,
    }


def check_backup(plan: BackupPlan, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Why these snapshots are not possible; empty when they are.

    Args:
        spelled: the user's spelling of an argument, for the keys of the problems.
    """
    key, problems = spelled("backup"), []
    for name, schedule, remedy in (
        ("schedule", plan.schedule, "Write it like hourly, or *:0/15"),
        ("drill", plan.drill, "Write it like daily, or never"),
    ):
        if not _matches(r"[A-Za-z0-9*:.,/~ -]{1,100}", schedule) or not schedule.strip():
            rule = "A schedule must be a calendar event of systemd (OnCalendar=), in one line"
            problems.append(Problem(f"{key}.{name}", shown(schedule), rule, remedy))
    problems += _check_recipients(plan.recipients, f"{key}.recipients")
    places = [place for place in PLACES if getattr(plan, place) is not None]
    if len(places) != 1:
        problems.append(Problem(key, " and ".join(places) or "none", _RULE_STORE, "Set one of them"))
    elif plan.s3 is not None:
        problems += _check_s3(plan.s3, f"{key}.s3", spelled)
    elif plan.ssh is not None:
        problems += _check_ssh(plan.ssh, f"{key}.ssh", spelled)
    else:
        problems += _check_directory(plan.directory, f"{key}.directory")
    problems += _check_keep(plan.keep, f"{key}.keep")
    known = [name for program in _VERSIONS for name in archives(program).values()]
    for name, digest in plan.sha256.items():
        if name not in known:
            rule = f"The archive must be one of {', '.join(known)}"
            problems.append(
                Problem(f"{key}.sha256", shown(name), rule, did_you_mean(str(name), known) or "Take its name")
            )
        elif not _matches(r"[0-9a-fA-F]{64}", digest):
            rule = "A SHA-256 must have 64 hexadecimal digits"
            problems.append(Problem(f"{key}.sha256", shown(digest), rule, f"Copy that of {name}"))
    return problems


def _matches(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def _check_recipients(recipients: Sequence[str], key: str) -> list[Problem]:
    if not recipients:
        rule = "Snapshots are encrypted, so at least one person must be able to read them"
        return [Problem(key, "nothing", rule, "Run age-keygen at a safe place, and set the public key that it prints")]
    problems = []
    for index, recipient in enumerate(recipients):
        at, value = f"{key}[{index}]", shown(recipient)
        rule = "A recipient must be a public key of age, which begins with age1"
        remedy = "Copy the public key that age-keygen prints"
        if isinstance(recipient, str) and "SECRET" in recipient.upper():
            value, rule = (
                "a private key (not shown)",
                "A private key must never be on a machine, nor in a configuration",
            )
            remedy = "Replace this key by another, because it has been here, and set the public key"
        elif isinstance(recipient, str) and _is_recipient(recipient):
            if recipient not in recipients[:index]:
                continue
            rule, remedy = "A recipient must not be listed twice", "Remove one of them"
        problems.append(Problem(at, value, rule, remedy))
    return problems


def _is_recipient(text: str) -> bool:
    """Whether it is a bech32 text with the prefix `age` and its checksum (BIP 173), 32 bytes long."""
    if not re.fullmatch(rf"age1[{_BECH32}]{{58}}", text):
        return False
    checksum = 1
    prefix = [ord(char) for char in "age"]
    for value in [
        *(each >> 5 for each in prefix),
        0,
        *(each & 31 for each in prefix),
        *(_BECH32.index(char) for char in text[4:]),
    ]:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum == 1


def _check_directory(directory: str | None, key: str) -> list[Problem]:
    if _matches(r"(/[A-Za-z0-9_+@-][A-Za-z0-9_+@.-]*)+", directory):
        return []
    rule = "The directory must be an absolute path, with letters, digits, dots, +, @, - and _"
    return [Problem(key, shown(directory), rule, "Write it like /mnt/snapshots")]


def _check_ssh(place: SshPlan, key: str, spelled: Callable[[str], str]) -> list[Problem]:
    problems = _check_directory(place.directory, f"{key}.directory")
    rules = {
        "host": (
            r"\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?",
            "The host must be a name or an address, an IPv6 one in brackets",
            "backup.example.org",
        ),
        "user": (
            r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}",
            "The user must have letters, digits, dots, - and _",
            "etcd-backup",
        ),
    }
    for name, (pattern, rule, example) in rules.items():
        value = getattr(place, name)
        if not _matches(pattern, value):
            problems.append(Problem(f"{key}.{name}", shown(value), rule, f"Write it like {example}"))
    if type(place.port) is not int or not 0 < place.port < 1 << 16:
        rule = "The port must be a number from 1 to 65535"
        problems.append(Problem(f"{key}.port", shown(place.port), rule, "Write it like 22"))
    if not _is_host_key(place.host_key):
        private = isinstance(place.host_key, str) and "PRIVATE" in place.host_key
        rule = "The host key must be one public key in a line: its type and its base64, like ssh-ed25519 AAAA..."
        remedy = "Copy it from /etc/ssh/ssh_host_ed25519_key.pub on that machine"
        value = "a private key (not shown)" if private else shown(place.host_key)
        problems.append(Problem(f"{key}.{spelled('host_key')}", value, rule, remedy))
    if not place.private_key:
        rule = "The members log in with a private key, and there is no other way"
        remedy = "Create one without a passphrase (ssh-keygen -t ed25519 -N ''), and set it as a secret"
        problems.append(Problem(f"{key}.{spelled('private_key')}", "nothing", rule, remedy))
    return problems


def _is_host_key(text: object) -> bool:
    found = (
        re.fullmatch(r"([a-z0-9-]+) ([A-Za-z0-9+/]+={0,2})( [ -~]*)?", text.strip()) if isinstance(text, str) else None
    )
    if found is None or len(found[2]) % 4:
        return False
    return base64.b64decode(found[2]).startswith(len(found[1]).to_bytes(4, "big") + found[1].encode())


def _check_s3(store: S3Plan, key: str, spelled: Callable[[str], str]) -> list[Problem]:
    problems = []
    rules = {
        "bucket": (r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "The bucket must have 3 to 63 of a-z, 0-9, dot and -", "etcd"),
        "endpoint": (
            r"|https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:[1-9]\d{0,4})?",
            "The endpoint must be an https:// or http:// URL without credentials and path",
            "https://fsn1.your-objectstorage.com",
        ),
        "prefix": (
            r"|[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*",
            "The prefix must have letters, digits, dots, - and _, with / only between them",
            "clusters/prod",
        ),
        "region": (r"|[A-Za-z0-9-]{1,60}", "The region must have letters, digits and -", "eu-central-1"),
    }
    for name, (pattern, rule, example) in rules.items():
        value = getattr(store, name)
        if not _matches(pattern, value):
            # The part before an @ may be a password.
            given = "a text with an @ (not shown)" if isinstance(value, str) and "@" in value else shown(value)
            problems.append(Problem(f"{key}.{name}", given, rule, f"Write it like {example}"))
    if not store.endpoint and not store.region:
        rule = "Without an endpoint the store is that of AWS, which needs the region of the bucket"
        problems.append(Problem(f"{key}.region", "nothing", rule, "Set the region, or the endpoint of another store"))
    if store.access_key_id != store.secret_access_key:
        names = (
            ("secret_access_key", "access_key_id") if store.access_key_id else ("access_key_id", "secret_access_key")
        )
        rule = f"{spelled(names[1])} is given, and the two belong together"
        problems.append(Problem(f"{key}.{spelled(names[0])}", "nothing", rule, "Set both, or none"))
    return problems + (
        [] if store.object_lock is None else check_lock(store.object_lock, f"{key}.{spelled('object_lock')}")
    )


def check_lock(lock: LockPlan, key: str) -> list[Problem]:
    """Why a store cannot lock snapshots so."""
    problems = []
    if lock.mode not in LOCK_MODES:
        rule = f"The mode must be {' or '.join(LOCK_MODES)}"
        problems.append(Problem(f"{key}.mode", shown(lock.mode), rule, f"Set it to {LOCK_MODES[0]}"))
    return problems + check_days(lock.days, f"{key}.days")


def check_days(days: object, key: str) -> list[Problem]:
    """Why this is no number of days for which snapshots are kept."""
    if type(days) is int and 0 < days <= _MOST_DAYS:
        return []
    return [Problem(key, shown(days), f"The number of days must be from 1 to {_MOST_DAYS}", "Write it like 30")]


def _check_keep(keep: Mapping[str, int] | None, key: str) -> list[Problem]:
    if keep is None:
        return []
    problems = []
    for period, count in keep.items():
        if period not in PERIODS:
            rule = f"What is kept must be counted by {', '.join(PERIODS)}"
            problems.append(
                Problem(f"{key}.{period}", shown(count), rule, did_you_mean(period, PERIODS) or "Remove it")
            )
        elif type(count) is not int or not 0 <= count <= _MOST_KEPT:
            rule = f"The number must be from 0 to {_MOST_KEPT}"
            problems.append(Problem(f"{key}.{period}", shown(count), rule, "Write it like 24"))
    if not problems and not any(keep.values()):
        rule = "At least one period must have a number above 0"
        problems.append(Problem(key, "nothing to keep", rule, "Set one, or remove keep: then nothing is deleted"))
    return problems

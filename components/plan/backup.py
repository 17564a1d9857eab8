"""Snapshots that are kept elsewhere: what can be configured, and what members get of it."""

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
_RULE_STORE = "Snapshots must go to exactly one place: s3, or directory"


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

    @property
    def place(self) -> str:
        """The destination, in words."""
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
    if plan.s3 is not None and plan.directory is not None:
        problems.append(Problem(key, "both", _RULE_STORE, "Remove one of the two"))
    elif plan.s3 is not None:
        problems += _check_s3(plan.s3, f"{key}.s3", spelled)
    elif plan.directory is None:
        problems.append(Problem(key, "neither", _RULE_STORE, "Set one of the two"))
    elif not _matches(r"(/[A-Za-z0-9_+@-][A-Za-z0-9_+@.-]*)+", plan.directory):
        rule = "The directory must be an absolute path, with letters, digits, dots, +, @, - and _"
        problems.append(Problem(f"{key}.directory", shown(plan.directory), rule, "Write it like /mnt/snapshots"))
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
    return problems


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

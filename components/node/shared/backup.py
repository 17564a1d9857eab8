"""The desired snapshots of a cluster, as they arrive in the specification."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROGRAMS = ("age", "rclone")
PERIODS = ("hourly", "daily", "weekly")
NEWEST = "newest"
"""Stands for the name of the newest snapshot in the destination."""

_IDENTITY = re.compile(r"^AGE-SECRET-KEY-1[0-9A-Z]{58}\s*$", re.MULTILINE)
_MOST_IDENTITY = 4096
"""Bytes: at least so many fit into a pipe that nobody reads yet."""
_LINE = re.compile(r"[ -~]{0,2000}")
_FILLED = re.compile(r"[!-~][ -~]{0,2000}")
_SCHEDULE = re.compile(r"[A-Za-z0-9*:.,/~ -]{1,100}")
_RECIPIENT = re.compile(r"age1[a-z0-9]{10,4000}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https?://[!-~]+")
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){2}")
_DIRECTORY = re.compile(r"(/[A-Za-z0-9_+@.-]+)+")
_S3 = ("endpoint", "bucket", "prefix", "region", "object_lock_mode", "object_lock_retain_until_date")
_SSH = ("host", "port", "user", "host_keys", "directory")


@dataclass(frozen=True)
class Program:
    """rclone or age, and where its archive is."""

    version: str
    place: str
    """URL of the folder with the archive."""
    sha256: Mapping[str, str]
    """Architecture -> SHA-256 of the archive; without this machine's: as SHA256SUMS beside the archive says."""


@dataclass(frozen=True)
class Backup:
    """What is kept where, and who can read it."""

    schedule: str
    """OnCalendar= of systemd."""
    recipients: tuple[str, ...]
    """Public keys of age."""
    keep: Mapping[str, int] | None
    """Period -> how many of the last ones keep a snapshot; None: nothing is deleted."""
    s3: Mapping[str, str] | None
    """`bucket`, and `endpoint`, `prefix`, `region`, `object_lock_mode` and `object_lock_retain_until_date` (a number of
    days: `30d`), which can be empty."""
    directory: str
    """The directory; empty with `s3` and `ssh`."""
    programs: Mapping[str, Program]
    drill: str
    """OnCalendar= of systemd; empty: no restore is proved."""
    ssh: Mapping[str, str] | None = None
    """`host`, `port`, `user`, `host_keys` and `directory` of another machine."""

    @property
    def path(self) -> str:
        """The destination, as rclone names it in its own configuration."""
        if self.ssh is not None:
            return self.ssh["directory"]
        if self.s3 is None:
            return self.directory
        return f"{self.s3['bucket']}/{self.s3['prefix']}".rstrip("/")

    def __str__(self) -> str:
        if self.ssh is not None:
            return f"ssh:{self.ssh['user']}@{self.ssh['host']}:{self.path}"
        return f"s3:{self.path}" if self.s3 is not None else self.directory


def is_identity(text: str) -> bool:
    """Whether the text is a private key of age, as `age-keygen` writes it to a file."""
    return len(text.encode()) <= _MOST_IDENTITY and _IDENTITY.search(text) is not None


def parse(raw: Any) -> Backup:
    """Reads and checks the object.

    Raises:
        ValueError: it is invalid; the text is the rule.
    """
    known = {"schedule", "recipients", "keep", "s3", "ssh", "directory", "programs", "drill"}
    if not isinstance(raw, dict) or not {"schedule", "recipients", "programs"} <= set(raw) <= known:
        raise ValueError(f"it must be an object with schedule, recipients and programs, and only {', '.join(known)}")
    keep, s3, directory, recipients = raw.get("keep"), raw.get("s3"), raw.get("directory", ""), raw["recipients"]
    ssh = raw.get("ssh")
    if [s3 is not None, ssh is not None, bool(directory)].count(True) != 1:
        raise ValueError("it must have exactly one of s3, ssh and directory")
    if keep is not None and not (
        isinstance(keep, dict) and set(keep) <= {*PERIODS} and all(type(each) is int for each in keep.values())
    ):
        raise ValueError(f"keep must be an object of numbers for {', '.join(PERIODS)}")
    if not isinstance(recipients, list) or not recipients:
        raise ValueError("recipients must be a list of public keys")
    return Backup(
        schedule=_text(raw["schedule"], _SCHEDULE, "schedule must be an OnCalendar= of systemd"),
        recipients=tuple(_text(each, _RECIPIENT, "recipients must be public keys of age") for each in recipients),
        keep=keep,
        s3=None if s3 is None else {key: _text(s3.get(key, ""), _LINE, f"s3.{key} must be a line") for key in _S3},
        # Without a host key, rclone would accept any.
        ssh=None if ssh is None else {key: _text(ssh.get(key), _FILLED, f"ssh.{key} must be given") for key in _SSH},
        directory=_text(directory, _DIRECTORY, "directory must be an absolute path") if directory else "",
        programs={name: _program(raw["programs"].get(name), name) for name in PROGRAMS},
        drill=_text(raw["drill"], _SCHEDULE, "drill must be an OnCalendar= of systemd") if "drill" in raw else "",
    )


def _program(raw: Any, name: str) -> Program:
    if not isinstance(raw, dict) or not isinstance(raw.get("sha256"), dict):
        raise ValueError(f"programs.{name} must be an object")
    return Program(
        version=_text(raw.get("version"), _VERSION, f"programs.{name}.version must be like 1.2.3"),
        place=_text(raw.get("place"), _URL, f"programs.{name}.place must be an http(s) address"),
        sha256={
            arch: _text(digest, _DIGEST, f"programs.{name}.sha256 must have 64 hex digits")
            for arch, digest in raw["sha256"].items()
        },
    )


def _text(value: Any, pattern: re.Pattern[str], rule: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(rule)
    return value

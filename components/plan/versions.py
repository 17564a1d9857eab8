"""The releases of etcd that this project installs."""

import re
from dataclasses import dataclass

from .errors import Problem, shown

DEFAULT_VERSION = "3.6.16"

# Lowest accepted and newest known patch per minor.
# 3.5: kubeadm refuses an external etcd below MinExternalEtcdVersion (cmd/kubeadm/app/constants): 3.5.24 in 1.35 to 1.37
# and in the last patches of 1.31 to 1.34, less in older ones.
# 3.6, 3.7: no lower bound of kubeadm lies within them; every published patch is accepted.
_FLOOR = {"3.5": 24, "3.6": 0, "3.7": 0}
_NEWEST = {"3.5": 35, "3.6": 16, "3.7": 3}
MINORS = tuple(_FLOOR)

# Lowest patch without a known defect that matters here; for lower ones, a warning names the defect.
# 3.5.26: members that were removed come back (etcd-io/etcd#20967) and block the upgrade to 3.6.
# 3.6.11: a member cannot be added while another is down (etcd-io/etcd#21669); needed before an upgrade to 3.7.
_ADVISED = {
    "3.5": (32, "an upgrade to 3.6 needs at least that on every member, and below 3.5.26 removed members can reappear"),
    "3.6": (
        11,
        "an upgrade to 3.7 needs at least that on every member, and below it none can join while another is down",
    ),
}


@dataclass(frozen=True, order=True)
class EtcdVersion:
    """A release of etcd."""

    major: int
    minor: int
    patch: int

    @property
    def series(self) -> str:
        """`X.Y`, the minor version."""
        return f"{self.major}.{self.minor}"

    def __str__(self) -> str:
        return f"{self.series}.{self.patch}"


def parse(text: object) -> EtcdVersion | None:
    """The version, if the text is exactly `X.Y.Z`, else None."""
    match = (
        re.fullmatch(r"(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})", text, re.ASCII)
        if isinstance(text, str)
        else None
    )
    return EtcdVersion(*(int(part) for part in match.groups())) if match else None


def check_version(text: object, key: str = "version") -> list[Problem]:
    """Why this version cannot be installed; empty when it can."""
    version = parse(text)
    known = ", ".join(f"{series}.{patch}" for series, patch in _NEWEST.items())
    if version is None:
        remedy = f"Newest known: {known}"
        if isinstance(text, str) and parse(text.strip().removeprefix("v")) is not None:
            remedy = f"Write {text.strip().removeprefix('v')}"
        return [Problem(key, shown(text), "A version of etcd must be written X.Y.Z, without a v", remedy)]
    if version.series not in _FLOOR:
        rule = f"The minor version must be one of {', '.join(MINORS)}"
        return [Problem(key, shown(text), rule, f"Choose one of them; newest known: {known}")]
    if version.patch < _FLOOR[version.series]:
        floor = f"{version.series}.{_FLOOR[version.series]}"
        return [
            Problem(
                key,
                shown(text),
                f"kubeadm refuses an external etcd below {floor}",
                f"Choose {version.series}.{_NEWEST[version.series]}",
            )
        ]
    return []


def supported() -> str:
    """The supported minor versions of etcd, in words."""
    said = [f"{series} ({series}.{patch} or newer)" if patch else series for series, patch in _FLOOR.items()]
    return f"{', '.join(said[:-1])} or {said[-1]}"


def upgrade_floor(series: str) -> EtcdVersion | None:
    """The lowest patch of this minor that can be upgraded to the next minor; None: no limit is known."""
    advised = _ADVISED.get(series)
    return parse(f"{series}.{advised[0]}") if advised is not None else None


def newest(series: str) -> str:
    """The newest known release of a supported minor."""
    return f"{series}.{_NEWEST[series]}"


def version_warnings(version: EtcdVersion) -> list[str]:
    """Warnings about an accepted version, in complete sentences."""
    found = []
    if version.patch > _NEWEST[version.series]:
        found.append(
            f"etcd {version} is newer than {newest(version.series)}, the newest tested release. "
            "If it does not exist, the download on the machines fails."
        )
    advised = _ADVISED.get(version.series)
    if advised is not None and version.patch < advised[0]:
        found.append(f"etcd {version} is below {version.series}.{advised[0]}: {advised[1]}.")
    return found

"""Users of etcd besides the API servers, each with the keys that it can read or write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import Problem, did_you_mean, shown
from .members import check_name

PERMISSIONS = ("read", "write", "readwrite")
API_SERVERS, PROGRAM = "kube-apiserver-etcd-client", "kube-etcd-healthcheck-client"
"""Common names of the client certificates of API servers and this program, which are root."""
ROOTS = ("root", API_SERVERS, PROGRAM)
PROMETHEUS = "prometheus-etcd-client"
"""Common name of Prometheus' client certificate. It is no user: etcd asks for none at /metrics."""
OWN_KEYS = "external-etcd/"
"""Prefix of this program's own keys in etcd."""

_MOST = 200


@dataclass(frozen=True)
class UserPlan:
    """One user of etcd."""

    name: str
    """A DNS label, and the common name of its certificate."""
    prefix: str
    """The user has access to all keys with this prefix."""
    permission: str
    """One of PERMISSIONS."""


def check_users(
    users: Sequence[UserPlan], members: Sequence[str], *, authentication: bool, spelled: Callable[[str], str] = str
) -> list[Problem]:
    """Why these cannot be the users of a cluster; empty when they can.

    Args:
        users: in the configured order.
        members: names of the members, which are the common names of their certificates.
        spelled: the user's spelling of an argument, for the keys of the problems.
    """
    key, problems = spelled("users"), []
    if users and not authentication:
        rule = "Without authentication, every certificate of the CA gives full access, whatever its prefix"
        problems.append(
            Problem(key, ", ".join(user.name for user in users), rule, f"Set {spelled('authentication')} to true")
        )
    names = [user.name for user in users]
    for index, user in enumerate(users):
        at = f"{key}[{index}]"
        problems += check_name(user.name, f"{at}.name")
        if user.name in names[:index]:
            rule = "Two users cannot have the same name"
            problems.append(Problem(f"{at}.name", shown(user.name), rule, "Choose another name"))
        if user.name in (*ROOTS, PROMETHEUS, *members):
            rule = "A user cannot have the name root or that of a member or of a certificate of this program"
            problems.append(Problem(f"{at}.name", shown(user.name), rule, "Choose another name"))
        problems += _check_prefix(user.prefix, f"{at}.prefix")
        if user.permission not in PERMISSIONS:
            rule = f"A permission must be one of {', '.join(PERMISSIONS)}"
            remedy = did_you_mean(user.permission, PERMISSIONS) or "Set one of them"
            problems.append(Problem(f"{at}.permission", shown(user.permission), rule, remedy))
    return problems


def _check_prefix(prefix: str, key: str) -> list[Problem]:
    if not 0 < len(prefix) <= _MOST or prefix[0] == "-" or not all("!" <= char <= "~" for char in prefix):
        rule = f"A prefix must have 1 to {_MOST} printable ASCII characters, no spaces, and not begin with a dash"
        return [Problem(key, shown(prefix), rule, "Set it to the beginning of the user's keys, like /backup/")]
    if OWN_KEYS.startswith(prefix) or prefix.startswith(OWN_KEYS):
        rule = f"The keys {OWN_KEYS}... belong to this program, and no user can have access to them"
        return [Problem(key, shown(prefix), rule, "Set a prefix that does not cover them, like /backup/")]
    return []

"""The CAs that a cluster trusts, and which of them issues: checks of names and lists.

There are two lists: the CAs of clients and servers, and those of peers. A name in both lists is one CA. If both lists
are equal, the peer port accepts every client certificate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import Problem, did_you_mean, shown
from .members import check_name

DEFAULT_AUTHORITY = "1"
"""Name of the CA that is created when none is configured."""
DEFAULT_PEER_AUTHORITY = "peer-1"
"""Name of the CA that is created for the peers of a new cluster."""


@dataclass(frozen=True)
class AuthorityPlan:
    """One CA that the cluster trusts."""

    name: str
    """A DNS label that is never reused: another CA has another name."""
    certificate: bool = False
    """The user gave its certificate. False: the program creates the CA."""
    private_key: bool = False
    """The user gave its private key."""


def check_authorities(
    authorities: Sequence[AuthorityPlan], issuer: str, spelled: Callable[[str], str] = str, prefix: str = ""
) -> list[Problem]:
    """Why these cannot be a cluster's CAs; empty when they can. `check_authority` checks the certificates.

    Args:
        authorities: in the user's order.
        issuer: name of the CA that issues certificates.
        spelled: the user's spelling of an argument, for the keys of the problems.
        prefix: prefix of both arguments: empty or `peer_`.
    """
    key, issuer_key, problems = spelled(f"{prefix}authorities"), spelled(f"{prefix}issuer"), []
    names = [authority.name for authority in authorities]
    if not names:
        rule = "A cluster must trust at least one CA"
        return [Problem(key, "an empty list", rule, "Remove the key to have a CA created")]
    for index, authority in enumerate(authorities):
        at = f"{key}[{index}]"
        problems += check_name(authority.name, f"{at}.name")
        if authority.name in names[:index]:
            rule = "Every CA must have its own name, which is never reused"
            problems.append(Problem(f"{at}.name", shown(authority.name), rule, "Choose a name that was never used"))
        if authority.private_key and not authority.certificate:
            rule = "A private key needs its certificate"
            problems.append(Problem(f"{at}.certificate", "nothing", rule, "Set both, or neither to have a CA created"))
        if authority.certificate and not authority.private_key and authority.name == issuer:
            rule = "The issuing CA needs its private key; a CA that is only trusted does not"
            remedy = f"Set it, or set {issuer_key} to another CA"
            problems.append(Problem(f"{at}.{spelled('private_key')}", "nothing", rule, remedy))
    if issuer not in names:
        rule = f"The issuer must be one of the trusted CAs: {', '.join(names)}"
        remedy = did_you_mean(issuer, names) or "Set it to one of them"
        problems.append(Problem(issuer_key, shown(issuer), rule, remedy))
    return problems


def check_peer_authorities(
    peers: Sequence[AuthorityPlan],
    issuer: str,
    authorities: Sequence[AuthorityPlan],
    spelled: Callable[[str], str] = str,
) -> list[Problem]:
    """Why these cannot be the CAs of the peers; empty when they can.

    Args:
        peers: in the user's order; a name alone means the CA of that name in `authorities`.
        issuer: name of the CA that issues the peer certificates.
        authorities: the CAs of clients and servers.
        spelled: the user's spelling of an argument, for the keys of the problems.
    """
    named = {each.name: each for each in authorities}
    problems = [
        Problem(
            f"{spelled('peer_authorities')}[{index}].certificate",
            "a second time",
            f"{spelled('authorities')} has {each.name} too, and the certificate of a CA must be given only once",
            f"Remove certificate and key here; the name {each.name} is enough",
        )
        for index, each in enumerate(peers)
        if each.name in named and (each.certificate or each.private_key)
    ]
    return problems + check_authorities([named.get(each.name, each) for each in peers], issuer, spelled, "peer_")


def peers_have_their_own(previous: Mapping[str, Any] | None, authorities: Sequence[AuthorityPlan]) -> bool:
    """Whether peers have a separate created CA where the configuration does not say.

    An existing cluster keeps what it has. A new cluster gets a CA for its peers, unless the user gave its CA: such a
    cluster can be recovered when Pulumi's state is lost. A CA that exists only in the state would prevent that.

    Args:
        previous: what the last update left; None before the first.
        authorities: the CAs of clients and servers.
    """
    if not previous:
        return not any(each.certificate for each in authorities)
    ends = (previous.get("trusted"), previous.get("issuer"))
    # Earlier versions of this program recorded nothing about peers, which had the same CAs.
    return (previous.get("peer_trusted", ends[0]), previous.get("peer_issuer", ends[1])) != ends


def bundle(certificates: Sequence[str]) -> str:
    """All certificates as one PEM text, in order."""
    return "".join(f"{certificate.strip()}\n" for certificate in certificates)

"""Which certificate authorities a cluster trusts, and which of them issues: rules on names, and on several at once.

There are two lists: the authorities of clients and servers, and those of the members among each other. An authority in
both is one authority. Where both lists are the same, every client certificate speaks to the peer port as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .addresses import check_name
from .errors import Problem, did_you_mean, shown

DEFAULT_AUTHORITY = "1"
"""Name of the authority that is made when none is named."""
DEFAULT_PEER_AUTHORITY = "peer-1"
"""Name of the authority that is made for the peers of a new cluster."""


@dataclass(frozen=True)
class AuthorityPlan:
    """One authority that the cluster trusts."""

    name: str
    """Its name, a DNS label, for ever: another authority has another name."""
    certificate: bool = False
    """A certificate is given: it is one's own. Else it is made."""
    private_key: bool = False
    """Its private key is given."""


def check_authorities(
    authorities: Sequence[AuthorityPlan], issuer: str, spelled: Callable[[str], str] = str, prefix: str = ""
) -> list[Problem]:
    """Why these cannot be a cluster's authorities; empty when they can. What is in certificates is checked elsewhere.

    Args:
        authorities: in the user's order.
        issuer: name of the one that issues the certificates.
        spelled: the user's spelling of an argument, for the keys of the problems.
        prefix: what the names of the two arguments begin with: nothing, or `peer_`.
    """
    key, issuer_key, problems = spelled(f"{prefix}authorities"), spelled(f"{prefix}issuer"), []
    names = [authority.name for authority in authorities]
    if not names:
        rule = "A cluster trusts at least one authority"
        return [Problem(key, "an empty list", rule, "Leave it out: one is made")]
    for index, authority in enumerate(authorities):
        at = f"{key}[{index}]"
        problems += check_name(authority.name, f"{at}.name")
        if authority.name in names[:index]:
            rule = "No two authorities have the same name, now or later"
            problems.append(Problem(f"{at}.name", shown(authority.name), rule, "Give a name that was never used"))
        if authority.private_key and not authority.certificate:
            rule = "A private key comes with its certificate"
            problems.append(Problem(f"{at}.certificate", "nothing", rule, "Give both, or none to have one made"))
        if authority.certificate and not authority.private_key and authority.name == issuer:
            rule = "The authority that issues signs with its private key; one that is only trusted needs none"
            remedy = f"Give it, or name another as {issuer_key}"
            problems.append(Problem(f"{at}.{spelled('private_key')}", "nothing", rule, remedy))
    if issuer not in names:
        rule = f"Certificates are issued by an authority that is trusted: {', '.join(names)}"
        remedy = did_you_mean(issuer, names) or "Name one of them"
        problems.append(Problem(issuer_key, shown(issuer), rule, remedy))
    return problems


def check_peer_authorities(
    peers: Sequence[AuthorityPlan],
    issuer: str,
    authorities: Sequence[AuthorityPlan],
    spelled: Callable[[str], str] = str,
) -> list[Problem]:
    """Why these cannot be the authorities of the members among each other; empty when they can.

    Args:
        peers: in the user's order; the name alone stands for the authority of that name among `authorities`.
        issuer: name of the one that issues the peer certificates.
        authorities: those of clients and servers.
        spelled: the user's spelling of an argument, for the keys of the problems.
    """
    named = {each.name: each for each in authorities}
    problems = [
        Problem(
            f"{spelled('peer_authorities')}[{index}].certificate",
            "a second time",
            f"{spelled('authorities')} has {each.name} too, and an authority in both lists must be given once",
            f"Remove certificate and key here; the name {each.name} is enough",
        )
        for index, each in enumerate(peers)
        if each.name in named and (each.certificate or each.private_key)
    ]
    return problems + check_authorities([named.get(each.name, each) for each in peers], issuer, spelled, "peer_")


def peers_have_their_own(previous: Mapping[str, Any] | None, authorities: Sequence[AuthorityPlan]) -> bool:
    """Whether the peers of a cluster have the CA that is made for them, where the configuration does not say it.

    A cluster that exists keeps what it has. A new one gets a CA for its peers, unless its CA is one's own: such a
    cluster can be taken back when the state is lost, and a CA that exists in the state alone would end that.

    Args:
        previous: what the last update left; None before the first.
        authorities: those of clients and servers.
    """
    if not previous:
        return not any(each.certificate for each in authorities)
    ends = (previous.get("trusted"), previous.get("issuer"))
    # Updates of an earlier version of this program left nothing about peers: they had the same ones.
    return (previous.get("peer_trusted", ends[0]), previous.get("peer_issuer", ends[1])) != ends


def bundle(certificates: Sequence[str]) -> str:
    """The certificates of all authorities as one text, in their order, PEM."""
    return "".join(f"{certificate.strip()}\n" for certificate in certificates)

"""Which certificate authorities a cluster trusts, and which of them issues: rules on names, and on several at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .addresses import check_name
from .errors import Problem, did_you_mean, shown

DEFAULT_AUTHORITY = "1"
"""Name of the authority that is made when none is named."""


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
    authorities: Sequence[AuthorityPlan], issuer: str, spelled: Callable[[str], str] = str
) -> list[Problem]:
    """Why these cannot be a cluster's authorities; empty when they can. What is in certificates is checked elsewhere.

    Args:
        authorities: in the user's order.
        issuer: name of the one that issues the certificates.
        spelled: the user's spelling of an argument, for the keys of the problems.
    """
    key, problems = spelled("authorities"), []
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
            remedy = f"Give it, or name another as {spelled('issuer')}"
            problems.append(Problem(f"{at}.{spelled('private_key')}", "nothing", rule, remedy))
    if issuer not in names:
        rule = f"Certificates are issued by an authority that is trusted: {', '.join(names)}"
        remedy = did_you_mean(issuer, names) or "Name one of them"
        problems.append(Problem(spelled("issuer"), shown(issuer), rule, remedy))
    return problems


def bundle(certificates: Sequence[str]) -> str:
    """The certificates of all authorities as one text, in their order, PEM."""
    return "".join(f"{certificate.strip()}\n" for certificate in certificates)

"""Checks the user's own CAs and the lifetimes of certificates. The plan checks how the CAs fit together."""

from components import Authority, EtcdClusterArgs
from components.pki import CA_HOURS, EARLY_RENEWAL_HOURS, YEAR_HOURS, authorities_of
from components.plan import ClusterPlan
from components.plan.ca_certificate import check_authority, check_different
from components.plan.errors import shown

from .reading import Reading


def check_authorities(reading: Reading, args: EtcdClusterArgs, plan: ClusterPlan) -> None:
    """Notes what is wrong in `reading`; `args` and `plan` are the cluster's arguments and plan from it."""
    if plan.peer_authorities is None and plan.peer_issuer:
        rule = "The CA that issues the peer certificates must be one of peerAuthorities"
        reading.refuse("peerIssuer", shown(plan.peer_issuer), rule, "Set peerAuthorities, or remove it")
    authorities, peers = authorities_of(args.get("authorities")), args.get("peer_authorities", [])
    validity_hours = _check_lifetimes(reading, [*authorities, *peers])
    own: dict[str, str] = {}
    given = [(f"authorities[{index}]", each) for index, each in enumerate(authorities)]
    # The plan reports duplicates.
    names = {each["name"] for each in authorities}
    given += [(f"peerAuthorities[{index}]", each) for index, each in enumerate(peers) if each["name"] not in names]
    for at, authority in given:
        certificate = own_certificate(authority)
        if certificate is None:
            continue
        private_key = authority.get("private_key")
        found = check_authority(
            certificate,
            None if private_key is None else str(private_key),
            validity_hours,
            key=at,
            issues=authority["name"] in (plan.issuer, plan.peer_issuer),
            private_key_name="privateKey",
        )
        reading.problems += found
        if not found:
            own[f"{at}.certificate"] = certificate
    reading.problems += check_different(own)


def own_certificate(authority: Authority) -> str | None:
    """The certificate of the user's own CA, PEM; None for a created CA."""
    return str(authority["certificate"]) if "certificate" in authority else None


def _check_lifetimes(reading: Reading, authorities: list[Authority]) -> int:
    """Notes what is wrong with the lifetimes; returns the lifetime of certificates, in hours."""
    given: dict[str, int] = reading.given.get("certificates", {})
    validity = given.get("validityHours", YEAR_HOURS)
    early, ca_validity = given.get("earlyRenewalHours", EARLY_RENEWAL_HOURS), given.get("caValidityHours", CA_HOURS)
    for name, hours in given.items():
        if hours < 1:
            reading.refuse(f"certificates.{name}", shown(hours), "A lifetime must be at least one hour", "Leave it out")
    if min(validity, early, ca_validity) < 1:
        return validity
    if validity <= early:
        rule = f"Renewal must begin within the lifetime of {validity} hours, not {early} hours before its end"
        remedy = "Set earlyRenewalHours to a third of validityHours or less"
        reading.refuse("certificates.earlyRenewalHours", shown(early), rule, remedy)
    if any("certificate" not in each for each in authorities) and ca_validity <= validity:
        rule = f"The CA must outlive the certificates that it issues, which are valid for {validity} hours"
        reading.refuse("certificates.caValidityHours", shown(ca_validity), rule, "Set it higher")
    return validity

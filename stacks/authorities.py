"""What is wrong with certificate authorities of one's own and with lifetimes; who is missing what, the plan says."""

from components import Authority, EtcdClusterArgs
from components.pki import CA_HOURS, EARLY_RENEWAL_HOURS, YEAR_HOURS, authorities_of
from components.plan import ClusterPlan
from components.plan.authority import check_authority, check_different
from components.plan.errors import shown

from .reading import Reading


def check_authorities(reading: Reading, args: EtcdClusterArgs, plan: ClusterPlan) -> None:
    """Notes what is wrong.

    Args:
        reading: the configuration.
        args: the cluster's arguments in it.
        plan: what they amount to.
    """
    if plan.peer_authorities is None and plan.peer_issuer:
        rule = "The CA that issues the peer certificates must be one of peerAuthorities"
        reading.refuse("peerIssuer", shown(plan.peer_issuer), rule, "Set peerAuthorities, or remove it")
    authorities, peers = authorities_of(args.get("authorities")), args.get("peer_authorities", [])
    validity_hours = _check_lifetimes(reading, [*authorities, *peers])
    own: dict[str, str] = {}
    given = [(f"authorities[{index}]", each) for index, each in enumerate(authorities)]
    # That one is given twice is for the plan to say.
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
    """The certificate of an authority of one's own, PEM; None where it is made."""
    return str(authority["certificate"]) if "certificate" in authority else None


def _check_lifetimes(reading: Reading, authorities: list[Authority]) -> int:
    """Notes what is wrong with the lifetimes; returns that of the certificates, in hours."""
    given: dict[str, int] = reading.given.get("certificates", {})
    validity = given.get("validityHours", YEAR_HOURS)
    early, ca_validity = given.get("earlyRenewalHours", EARLY_RENEWAL_HOURS), given.get("caValidityHours", CA_HOURS)
    for name, hours in given.items():
        if hours < 1:
            reading.refuse(f"certificates.{name}", shown(hours), "A lifetime is at least one hour", "Leave it out")
    if min(validity, early, ca_validity) < 1:
        return validity
    if validity <= early:
        rule = f"Renewal begins within the lifetime: {early} hours before the end of {validity}"
        remedy = "Set earlyRenewalHours to a third of validityHours or less"
        reading.refuse("certificates.earlyRenewalHours", shown(early), rule, remedy)
    if any("certificate" not in each for each in authorities) and ca_validity <= validity:
        rule = f"The authority outlives the certificates that it issues, valid for {validity} hours"
        reading.refuse("certificates.caValidityHours", shown(ca_validity), rule, "Set it higher")
    return validity

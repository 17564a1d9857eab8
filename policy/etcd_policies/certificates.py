"""Lifetimes of certificates."""

from pulumi_policy import ResourceValidationArgs

from .rule import Findings, Schemas, Settings, resource_policy

_DAY = 24


def _hours(default: int, description: str) -> dict[str, object]:
    return {"type": "integer", "minimum": 0, "default": default, "description": description}


_SCHEMAS: Schemas = {
    "leafHours": _hours(397 * _DAY, "The longest lifetime of a certificate that is no CA: 13 months."),
    "caHours": _hours(3653 * _DAY, "The longest lifetime of a CA: ten years."),
    "renewalHours": _hours(14 * _DAY, "The shortest time before its end in which an update renews a certificate."),
}


def _lifetime(args: ResourceValidationArgs, settings: Settings, findings: Findings) -> None:
    is_ca = bool(args.props.get("isCaCertificate"))
    kind, key, argument = ("CA", "caHours", "ca_validity_hours") if is_ca else ("leaf", "leafHours", "validity_hours")
    with findings.if_known():
        hours, most = int(args.props.get("validityPeriodHours") or 0), int(settings[key])
        if hours > most:
            findings.violated(
                f"The certificate {args.name} ({kind}) is valid for {hours} hours ({hours // _DAY} days), but the "
                f"policy allows {most} (`{key}`). Set `{argument}` of the component, or `validityPeriodHours`."
            )
    if is_ca:
        # It is not renewed but replaced, in three updates.
        return
    with findings.if_known():
        early, least = int(args.props.get("earlyRenewalHours") or 0), int(settings["renewalHours"])
        if early < least:
            findings.violated(
                f"The certificate {args.name} is renewed only in its last {early} hours, but the policy requires "
                f"{least} (`renewalHours`). It expires if pulumi up runs less often. Set `early_renewal_hours` of the "
                "component, or `earlyRenewalHours`."
            )


LIFETIMES = resource_policy(
    "certificate-lifetimes",
    "Certificates do not live too long, and are renewed in time.",
    {
        "tls:index/locallySignedCert:LocallySignedCert": _lifetime,
        "tls:index/selfSignedCert:SelfSignedCert": _lifetime,
    },
    _SCHEMAS,
)

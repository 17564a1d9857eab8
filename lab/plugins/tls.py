"""The stand-in for the plugin `tls`: only the keys, requests and certificates that the components use.

All of it happens on the computer that runs Pulumi. `pki` does the work; this module defines the resources.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from .schema import Failure, Field, official
from .server import Call, Plugin, ProviderError, Resource
from .wire import UNKNOWN, Change, Secret, is_known, plain

VERSION = "5.6.2"

USES = ("cert_signing", "client_auth", "digital_signature", "key_encipherment", "server_auth")


def _no_address(text: str) -> str | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return f'Invalid IP address: failed to parse "{text}"'
    return None


_PEM = Field(required=True, replaces=True)
_SECRET_PEM = Field(required=True, secret=True, replaces=True)
_SUBJECT = Field("object", required=True, replaces=True, fields={"commonName": Field(required=True)})
_VALIDITY: Mapping[str, Field] = {
    "allowedUses": Field("list", required=True, replaces=True, item=Field(choices=USES)),
    "validityPeriodHours": Field("integer", required=True, replaces=True, minimum=0),
    "earlyRenewalHours": Field("integer", default=0, minimum=0),
}


class _TlsResource(Resource):
    """A resource of the tls plugin: created locally, without any remote state."""

    outputs: tuple[str, ...] = ()
    secret_outputs: tuple[str, ...] = ()
    maker: str
    """The function of `pki` that makes the outputs, from inputs without secret marks."""

    def planned(self, inputs: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 (for overriding)
        """The outputs that are known before creation."""
        return {}

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """Inputs that are wrong or not served by the stand-in."""
        return official(super().check(inputs))

    def settle(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs as given, because the official plugin does not add defaults to them; secret ones are marked."""
        return {
            name: Secret(plain(value)) if name in self.fields and self.fields[name].secret else value
            for name, value in inputs.items()
        }

    def diff(self, old: Mapping[str, Any], state: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
        """An explicit default is not a change, nor is a secret mark: neither is part of a certificate."""
        complete = {side: super(_TlsResource, self).settle(values) for side, values in (("old", old), ("new", new))}
        return super().diff(plain(complete["old"]), state, plain(complete["new"]))

    def create(self, call: Call, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Create keys or certificates; in a preview, only report the outputs."""
        state = {**super().settle(inputs), **self.planned(inputs)}
        if call.preview:
            made: dict[str, Any] = {name: UNKNOWN for name in self.outputs if name not in state}
        else:
            from . import pki  # noqa: PLC0415 (a preview without changes never needs it)

            made = getattr(pki, self.maker)(plain(state))
        for name in self.secret_outputs:
            made[name] = Secret(made[name])
        return str(made.get("id", "")), {**state, **made}

    def update(self, call: Call, state: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Apply changes that are possible in place."""
        kept = {name: value for name, value in state.items() if name not in self.fields}
        return {**kept, **super().settle(inputs), **self.planned(inputs)}


class PrivateKey(_TlsResource):
    """`tls:index/privateKey:PrivateKey`."""

    fields: Mapping[str, Field] = {
        "algorithm": Field(required=True, replaces=True, choices=("ECDSA", "ED25519")),
        "ecdsaCurve": Field(replaces=True, choices=("P256",)),
    }
    secret_outputs = ("privateKeyPem", "privateKeyOpenssh")
    outputs = (*secret_outputs, "publicKeyOpenssh", "id")
    maker = "private_key"

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """Applies the official plugin's default curve, P224, which the stand-in does not serve."""
        if plain(inputs.get("algorithm")) == "ECDSA" and "ecdsaCurve" not in inputs:
            inputs = {**inputs, "ecdsaCurve": "P224"}
        return super().check(inputs)


class CertRequest(_TlsResource):
    """`tls:index/certRequest:CertRequest`."""

    fields: Mapping[str, Field] = {
        "privateKeyPem": _SECRET_PEM,
        "subject": _SUBJECT,
        "dnsNames": Field("list", replaces=True, item=Field()),
        "ipAddresses": Field("list", replaces=True, item=Field(rule=_no_address)),
    }
    outputs = ("certRequestPem", "keyAlgorithm", "id")
    maker = "request"


class _Certificate(_TlsResource):
    """A certificate; it is replaced once it is in its renewal window."""

    outputs: tuple[str, ...] = ("certPem", "validityStartTime", "validityEndTime", "id")

    def planned(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """A window as long as the validity makes a certificate due at once."""
        hours, early = plain(inputs.get("validityPeriodHours")), plain(inputs.get("earlyRenewalHours", 0))
        if not is_known([hours, early]):
            return {"readyForRenewal": UNKNOWN}
        return {"readyForRenewal": hours == 0 or early >= hours}

    def diff(self, old: Mapping[str, Any], state: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
        """As for any resource, and a replacement if it is due."""
        changes = super().diff(old, state, new)
        if _due(state, plain(new.get("earlyRenewalHours", 0))):
            changes["readyForRenewal"] = Change.UPDATE_REPLACE
        elif state.get("readyForRenewal", False) != self.planned(new)["readyForRenewal"]:
            changes["readyForRenewal"] = Change.UPDATE
        return changes

    def read(self, state: dict[str, Any]) -> dict[str, Any]:
        """A refresh updates whether it is due."""
        return {**state, "readyForRenewal": True} if _due(state, plain(state.get("earlyRenewalHours", 0))) else state


def _due(state: Mapping[str, Any], early: Any) -> bool:
    end = state.get("validityEndTime")
    if not isinstance(end, str) or not isinstance(early, (int, float)):
        return False
    return datetime.now(timezone.utc) >= _parse_time(end) - timedelta(hours=early)


def _parse_time(text: str) -> datetime:
    """A time in Go's format; before Python 3.11, `datetime` reads neither nanoseconds nor Z."""
    try:
        whole, zone = text.removesuffix("Z"), "+00:00" if text.endswith("Z") else text[-6:]
        whole = whole.removesuffix(zone)
        return datetime.fromisoformat(whole.partition(".")[0] + zone)
    except ValueError as error:
        raise ProviderError(f"Failed to parse data from string: {text}: {error}") from error


class SelfSignedCert(_Certificate):
    """`tls:index/selfSignedCert:SelfSignedCert`."""

    fields: Mapping[str, Field] = {
        "privateKeyPem": _SECRET_PEM,
        "subject": _SUBJECT,
        "isCaCertificate": Field("boolean", default=False, replaces=True),
        "setSubjectKeyId": Field("boolean", default=False, replaces=True),
        **_VALIDITY,
    }
    outputs = (*_Certificate.outputs, "keyAlgorithm")
    maker = "self_signed"


class LocallySignedCert(_Certificate):
    """`tls:index/locallySignedCert:LocallySignedCert`."""

    fields: Mapping[str, Field] = {
        "certRequestPem": _PEM,
        "caPrivateKeyPem": _SECRET_PEM,
        "caCertPem": _PEM,
        **_VALIDITY,
    }
    outputs = (*_Certificate.outputs, "caKeyAlgorithm")
    maker = "locally_signed"


plugin = Plugin(
    "tls",
    VERSION,
    {
        "tls:index/privateKey:PrivateKey": PrivateKey(),
        "tls:index/certRequest:CertRequest": CertRequest(),
        "tls:index/selfSignedCert:SelfSignedCert": SelfSignedCert(),
        "tls:index/locallySignedCert:LocallySignedCert": LocallySignedCert(),
    },
)

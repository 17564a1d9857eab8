"""Replacing a CA: what must have reached every member before the next phase may begin on any.

A CA is replaced in three updates: every member trusts both; the new one issues every certificate; the old one is no
longer trusted. Etcd reads certificates again for every connection, but trusted CAs only at start. So a member that was
started before the first phase refuses a certificate of the new CA, and a client that trusts only the new CA refuses a
member before the second phase.

There are two lists of CAs: of clients and servers, and of the members among each other. Each is replaced in this way,
separately or in the same updates. A cluster with one CA for both gets a separate one for its peers in the same way.

Nothing is stored: the members are asked, with the new certificates, before these are installed.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from ..protocol import etcd, x509
from ..service import certificates, manager, systemd, unit
from ..shared import paths
from ..shared.errors import NodeError
from ..shared.say import phase, until
from ..shared.spec import Bundle, Spec


@dataclass(frozen=True)
class _Use:
    """One of the two lists of CAs."""

    file: str
    pair: str
    """The certificate of the member itself that such a CA issues."""
    authorities: str
    """The key of the configuration that is the list."""
    issuer: str
    """The key of the configuration that names who issues."""


_USES = (
    _Use("ca.crt", "server", "authorities", "issuer"),
    _Use("peer-ca.crt", "peer", "peerAuthorities", "peerIssuer"),
)
_Answer = Union[bool, etcd.SilentError, etcd.AlienError]

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which Python has no name."""
_SILENCE_SECONDS = 5.0


def refuse_too_early(spec: Spec, bundle: Bundle) -> None:
    """Refuses certificates that a member would reject, and CA lists that lack the CA of a presented certificate.

    Raises:
        NodeError: a member has not got that far, or does not answer; nothing was changed.
    """
    here = certificates.installed()
    changed = [use for use in _USES if _differs(use, here, bundle)]
    if not changed:
        return
    phase("ask whether every member is ready for these certificates")
    with certificates.laid_out(bundle) as place:
        for use in changed:
            if not _verifies(place, use.pair, bundle.files[use.file]):
                raise NodeError(
                    f"the CAs in {use.file} do not verify {use.pair}.crt, so others would refuse it; nothing was "
                    f"changed",
                    "Run `pulumi up` again; it provides both. Two CAs with the same subject need a subject "
                    "key identifier each.",
                )
        known = "server.crt" in here
        asked = [use for use in changed if not known or not _nobodys_business(use, here, bundle, place)]
        if asked:
            _refuse(spec, asked, _answers(spec, place, patient=known), must_answer=known)


def _differs(use: _Use, here: Mapping[str, str], bundle: Bundle) -> bool:
    trusted, before = (set(x509.fingerprints(files.get(use.file, ""))) for files in (bundle.files, here))
    return trusted != before or here.get(f"{use.pair}.crt") != bundle.files[f"{use.pair}.crt"]


def _nobodys_business(use: _Use, here: Mapping[str, str], bundle: Bundle, place: Path) -> bool:
    """Whether this is a renewal, or adds a trusted CA: no member rejects that."""
    trusted, before = (set(x509.fingerprints(files.get(use.file, ""))) for files in (bundle.files, here))
    if not before <= trusted:
        return False
    issuer = _issuer(place, use.pair, bundle.files[use.file])
    return issuer is not None and issuer == _issuer(paths.PKI, use.pair, here.get(use.file, ""))


def runs_with_other_cas(pid: int) -> bool:
    """Whether etcd was started with other CAs than those that are installed now."""
    return systemd.variable_of(pid, unit.TRUSTED) != certificates.trusted()


def _answers(spec: Spec, place: Path, *, patient: bool) -> Mapping[str, _Answer]:
    """Member -> whether, on both ports, it accepts the new certificates and presents one that the new CAs verify.

    Args:
        spec: the members; this one is asked too when it runs and can answer.
        place: where the new certificates are.
        patient: retry for a short time if a member is silent, for example just after its restart.
    """

    def ask(address: str) -> bool:
        etcd.ready(spec, address, place=place)
        etcd.peer_view(spec, address, place=place)
        return True

    # With a damaged file it cannot answer; these certificates replace it.
    members = spec.members if manager.show().runs and all(map(_usable, _USES)) else spec.others
    answers: dict[str, _Answer] = {}
    for _ in until(_SILENCE_SECONDS if patient else 0, every=0.5):
        answers = etcd.each(ask, members)
        if not any(isinstance(answer, etcd.SilentError) for answer in answers.values()):
            break
    return answers


def _refuse(spec: Spec, asked: Sequence[_Use], answers: Mapping[str, _Answer], *, must_answer: bool) -> None:
    def said(kind: type[Exception]) -> str:
        return "; ".join(f"{name}: {answer}" for name, answer in answers.items() if type(answer) is kind)

    name = (spec.peer_issuer or spec.issuer) if asked[0].pair == "peer" else spec.issuer
    issuer = f"the CA {name}" if name else "the new CA"
    listed, issues = f"`{asked[0].authorities}`", f"`{asked[0].issuer}`"
    if refused := said(etcd.RefusedError):
        raise NodeError(
            f"certificates of {issuer} are not accepted everywhere yet ({refused}); nothing was changed",
            f"Every member must trust it first: list it in {listed} next to the old one, keep {issues}, and run "
            f"`pulumi up`. Change {issues} after that.",
        )
    if unknown := said(etcd.AlienError):
        raise NodeError(
            f"a CA that would no longer be trusted is still in use ({unknown}); nothing was changed",
            f"Give every member a certificate of another CA first: list both in {listed}, set {issues} to the one "
            f"that stays, and run `pulumi up`. Remove the old one from the list after that.",
        )
    silent = said(etcd.SilentError)
    if must_answer and silent:
        raise NodeError(
            f"the CA can be replaced only while every member answers ({silent}); nothing was changed",
            f"Restore {listed} and {issues}, bring that member back with `pulumi up`, then continue.",
        )


def _usable(use: _Use) -> bool:
    """Whether this machine has the certificate with its key."""
    with contextlib.suppress(OSError, ssl.SSLError):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paths.PKI / f"{use.pair}.crt", paths.PKI / f"{use.pair}.key")
        return True
    return False


def _issuer(place: Path, pair: str, authorities: str) -> str | None:
    """Fingerprint of the CA that has issued this certificate in a directory; None when it is not among them."""
    for der in x509.der_of(authorities):
        if _verifies(place, pair, ssl.DER_cert_to_PEM_cert(der)):
            return x509.fingerprint(der)
    return None


def _verifies(place: Path, pair: str, authorities: str) -> bool:
    """Whether a client that trusts these CAs accepts this certificate, regardless of the time.

    Python verifies certificates only in a handshake, so this does one in memory.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    try:
        server.load_cert_chain(place / f"{pair}.crt", place / f"{pair}.key")
        client.load_verify_locations(cadata=authorities)
    except (OSError, ssl.SSLError):
        return False
    client.verify_flags = ssl.VerifyFlags(client.verify_flags | _NO_CHECK_TIME)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello, answer = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    try:
        for end in (hello, answer, hello):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLError:
        return False
    return True

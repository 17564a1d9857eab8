"""Replacing a CA: what must have reached every member before the next phase may begin on any.

A CA is replaced in three updates: every member trusts the new one beside the old one; the new one issues every
certificate; the old one is trusted no more. Etcd reads certificates anew for every connection, but the CAs that it
trusts only when it starts. So whoever presents a certificate of the new CA to a member that was started before the
first phase is refused, and whoever trusts the new CA alone refuses a member before the second.

Nothing here is remembered: the members are asked, with the new certificates, before these are installed.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Union

from . import certificate, certificates, etcd, paths, systemd, unit
from .errors import NodeError
from .say import phase, until
from .spec import Bundle, Spec

_Answer = Union[bool, etcd.SilentError, etcd.AlienError]

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which Python has no name."""
_SILENCE_SECONDS = 5.0


def refuse_too_early(spec: Spec, bundle: Bundle) -> None:
    """Refuses certificates that a member would refuse, and to trust less than what members present.

    Raises:
        NodeError: a member is not there yet, or cannot be asked; nothing was changed.
    """
    here = certificates.installed()
    trusted = set(certificate.fingerprints(bundle.files["ca.crt"]))
    before = set(certificate.fingerprints(here.get("ca.crt", "")))
    if trusted == before and here.get("server.crt") == bundle.files["server.crt"]:
        return
    phase("ask whether every member is ready for these certificates")
    with certificates.laid_out(bundle) as place:
        if not _verifies(place, bundle.files["ca.crt"]):
            raise NodeError(
                "whoever trusts the CAs in ca.crt would refuse server.crt; nothing was changed",
                "Run `pulumi up` again; both come from there. Two CAs with the same subject need a subject "
                "key identifier each.",
            )
        known = "server.crt" in here
        if known and before <= trusted:
            issuer = _issuer(place, bundle.files["ca.crt"])
            if issuer is not None and issuer == _issuer(paths.PKI, here.get("ca.crt", "")):
                return  # a renewal, or one more CA to trust: nobody refuses that
        _refuse(spec, _answers(spec, place, patient=known), must_answer=known)


def runs_with_other_cas(pid: int) -> bool:
    """Whether etcd was started with other CAs than those that are installed now."""
    return systemd.variable_of(pid, unit.TRUSTED) != certificates.trusted()


def _answers(spec: Spec, place: Path, *, patient: bool) -> Mapping[str, _Answer]:
    """Member -> whether, on both ports, it takes the new certificates and presents one that the new CAs vouch for.

    Args:
        spec: the members; this one is asked too when it runs.
        place: where the new certificates are.
        patient: ask again for a little while when one is silent, as when it has just been restarted.
    """

    def ask(address: str) -> bool:
        etcd.ready(spec, address, place=place)
        etcd.peer_view(spec, address, place=place)
        return True

    members = spec.members if systemd.show().runs else spec.others
    answers: dict[str, _Answer] = {}
    for _ in until(_SILENCE_SECONDS if patient else 0, every=0.5):
        answers = etcd.each(ask, members)
        if not any(isinstance(answer, etcd.SilentError) for answer in answers.values()):
            break
    return answers


def _refuse(spec: Spec, answers: Mapping[str, _Answer], *, must_answer: bool) -> None:
    def said(kind: type[Exception]) -> str:
        return "; ".join(f"{name}: {answer}" for name, answer in answers.items() if type(answer) is kind)

    issuer = f"the CA {spec.issuer}" if spec.issuer else "the new CA"
    if refused := said(etcd.RefusedError):
        raise NodeError(
            f"certificates of {issuer} are not accepted everywhere yet ({refused}); nothing was changed",
            "Let every member trust it first: list it in `authorities` beside the old one, leave `issuer` as it was, "
            "and run `pulumi up`; change `issuer` after that.",
        )
    if unknown := said(etcd.AlienError):
        raise NodeError(
            f"a CA that is to be trusted no more is still in use ({unknown}); nothing was changed",
            "Give every member a certificate of another one first: list both in `authorities`, set `issuer` to the one "
            "that stays, and run `pulumi up`; take the old one off the list after that.",
        )
    silent = said(etcd.SilentError)
    if must_answer and silent:
        raise NodeError(
            f"the CA is replaced only while every member can be asked ({silent}); nothing was changed",
            "Set `authorities` and `issuer` back to what they were, bring it back with `pulumi up`, then go on.",
        )


def _issuer(place: Path, authorities: str) -> str | None:
    """Fingerprint of the CA that has issued the server certificate in a directory; None when it is not among them."""
    for der in certificate.der_of(authorities):
        if _verifies(place, ssl.DER_cert_to_PEM_cert(der)):
            return certificate.fingerprint(der)
    return None


def _verifies(place: Path, authorities: str) -> bool:
    """Whether a client that trusts these CAs takes the server certificate, whatever the time is.

    Python verifies a certificate in a handshake only; this one is held in memory, with oneself.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    try:
        server.load_cert_chain(place / "server.crt", place / "server.key")
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

"""Certificates and keys on the machine: checked before they are written; key and certificate are replaced together."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from ..machine import account
from ..protocol import x509
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.spec import CERTIFICATES, KEYS, Bundle

_EARLY_SECONDS = 10.0
"""How far ahead the issuer's clock can be: that time is waited for."""


def authority(bundle: Bundle) -> list[str]:
    """Fingerprints of the CA certificates of clients and servers in the bundle.

    Raises:
        NodeError: there are none, or none for peers.
    """
    found: dict[str, list[str]] = {}
    for name in ("ca.crt", "peer-ca.crt"):
        try:
            found[name] = x509.fingerprints(bundle.files[name])
        except ValueError:
            found[name] = []
        if not found[name]:
            raise NodeError(
                f"{name} on standard input holds no certificate",
                "Run `pulumi up`: it provides the certificates.",
            )
    return found["ca.crt"]


def installed() -> dict[str, str]:
    """What is on this machine: file name -> PEM; without keys and missing files.

    Without a file of their own, peers use the common CAs: earlier versions had one list.
    """
    read = {name: files.read_bytes(paths.PKI / name) for name in CERTIFICATES}
    found = {name: content.decode(errors="replace") for name, content in read.items() if content is not None}
    if "ca.crt" in found:
        found.setdefault("peer-ca.crt", found["ca.crt"])
    return found


def trusted() -> str:
    """Digest of the CA certificates on this machine, independent of their order; empty if there are none."""
    here = installed()
    clients, peers = (x509.fingerprints(here.get(name, "")) for name in ("ca.crt", "peer-ca.crt"))
    # One list for both has the same digest as the single file of earlier versions.
    words = clients if clients == peers else [*clients, "peers", *peers]
    return hashlib.sha256("".join(words).encode()).hexdigest()[:16] if words else ""


def _contents(bundle: Bundle) -> dict[Path, bytes | str]:
    # Key and certificate of a pair are neighbours in this order, so they are renamed into place back to back.
    names = [
        "ca.crt",
        "peer-ca.crt",
        *(f"{pair}.{kind}" for pair in ("server", "peer", "healthcheck-client") for kind in ("key", "crt")),
    ]
    return {paths.PKI / name: bundle.files[name] for name in names}


def differ(bundle: Bundle) -> bool:
    """Whether `install` would change a file."""
    return any(files.read_bytes(path) != str(content).encode() for path, content in _contents(bundle).items())


def install(bundle: Bundle) -> list[str]:
    """Writes what differs from what is there; etcd reads the files again for every new connection.

    Returns:
        Names of the files that changed.

    Raises:
        NodeError: a key does not belong to its certificate, or a certificate is not valid by the clock of this
            machine; nothing was written.
    """
    user = account.get()
    files.directory(paths.PKI, 0o750, 0, user.gid)
    rights = {paths.PKI / name: (0o644, 0, 0) for name in CERTIFICATES}
    rights.update({paths.PKI / name: (0o600, user.uid, user.gid) for name in KEYS})
    if differ(bundle):
        _check_pairs(bundle)
        _wait_until_valid(bundle)
    return [path.name for path in files.write_together(_contents(bundle), rights)]


def refuse_foreign() -> None:
    """Refuses the certificates of an etcd that was here before: ours have the same names.

    Raises:
        NodeError: there are files of others.
    """
    found = sorted(path.name for path in paths.PKI.iterdir()) if paths.PKI.is_dir() else []
    if found:
        raise NodeError(
            f"{paths.PKI} holds {', '.join(found[:3])}, which this program did not write; nothing was changed",
            "If they are not needed, or are copies, move them away, then run again. Otherwise use another machine.",
        )


def server_fingerprint(bundle: Bundle) -> str:
    """Fingerprint of the server certificate that etcd should present."""
    return x509.fingerprint(x509.der_of(bundle.files["server.crt"])[0])


@contextlib.contextmanager
def laid_out(bundle: Bundle) -> Iterator[Path]:
    """A directory with the bundle's files, readable to root alone, in memory, gone afterwards.

    OpenSSL reads keys from files only.
    """
    import tempfile  # noqa: PLC0415  only new certificates need it

    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:  # noqa: S108
        place = Path(directory)
        for name, content in bundle.files.items():
            (place / name).touch(mode=0o600)
            (place / name).write_text(content)
        yield place


def _check_pairs(bundle: Bundle) -> None:
    pair = ""
    with laid_out(bundle) as place:
        try:
            for pair in ("server", "peer", "healthcheck-client"):
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(place / f"{pair}.crt", place / f"{pair}.key")
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", "") or "unreadable"
            raise NodeError(
                f"{pair}.key does not belong to {pair}.crt ({reason}); nothing was written",
                "Run `pulumi up` again; it provides both.",
            ) from None


def _wait_until_valid(bundle: Bundle) -> None:
    """Etcd reads new certificates at once, and a peer refuses one that is not valid yet, or not any more."""
    pairs = ("server", "peer", "healthcheck-client")
    begins, ends = zip(*(x509.validity(x509.der_of(bundle.files[f"{pair}.crt"])[0]) for pair in pairs))
    begin, end, now = max(begins), min(ends), datetime.datetime.now(datetime.timezone.utc)
    early = (begin - now).total_seconds()
    if early > _EARLY_SECONDS or end <= now:
        # Expired ones are issued again by the next run, with the right clock; nothing does that for early ones.
        again = (
            " If it was that computer's, the certificates must be issued again: also set another "
            "`certificates.validityHours`. A cluster that has never served has its CA from the same clock: run `pulumi "
            "destroy` first."
        )
        raise NodeError(
            f"the certificates are valid from {begin:%Y-%m-%dT%H:%M:%SZ} to {end:%Y-%m-%dT%H:%M:%SZ}, and the clock of "
            f"this machine says {now:%Y-%m-%dT%H:%M:%SZ}; nothing was written",
            "Correct the clock of this machine or of the computer that runs `pulumi up`, then run again."
            + again * (end > now),
        )
    time.sleep(max(early, 0))

"""Certificates and keys on the machine: checked before they are written, written so that no pair is ever half."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from . import account, certificate, files, paths
from .errors import NodeError
from .spec import CERTIFICATES, KEYS, Bundle


def authority(bundle: Bundle) -> list[str]:
    """Fingerprints of the CA certificates in the bundle.

    Raises:
        NodeError: there are none.
    """
    try:
        found = certificate.fingerprints(bundle.files["ca.crt"])
    except ValueError:
        found = []
    if not found:
        raise NodeError(
            "ca.crt on standard input holds no certificate", "Run it by `pulumi up`; the certificates come from there."
        )
    return found


def _contents(bundle: Bundle) -> dict[Path, bytes | str]:
    # Key and certificate of a pair are neighbours in this order, so they are renamed into place back to back.
    names = [
        "ca.crt",
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
        NodeError: a key does not belong to its certificate; nothing was written.
    """
    user = account.get()
    files.directory(paths.PKI, 0o750, 0, user.gid)
    rights = {paths.PKI / name: (0o644, 0, 0) for name in CERTIFICATES}
    rights.update({paths.PKI / name: (0o600, user.uid, user.gid) for name in KEYS})
    if differ(bundle):
        _check_pairs(bundle)
    return [path.name for path in files.write_together(_contents(bundle), rights)]


def server_fingerprint(bundle: Bundle) -> str:
    """Fingerprint of the server certificate that etcd should present."""
    return certificate.fingerprint(certificate.der_of(bundle.files["server.crt"])[0])


def _check_pairs(bundle: Bundle) -> None:
    for pair in ("server", "peer", "healthcheck-client"):
        # OpenSSL reads keys from files only; the directory is readable to root alone and in memory.
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:  # noqa: S108
            for kind in ("crt", "key"):
                path = Path(place) / f"{pair}.{kind}"
                path.touch(mode=0o600)
                path.write_text(bundle.files[path.name])
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                    Path(place) / f"{pair}.crt", Path(place) / f"{pair}.key"
                )
            except (ssl.SSLError, OSError) as error:
                reason = getattr(error, "reason", "") or "unreadable"
                raise NodeError(
                    f"{pair}.key does not belong to {pair}.crt ({reason}); nothing was written",
                    "Run `pulumi up` again; both come from there.",
                ) from None

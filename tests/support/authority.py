"""A user's own CA and the certificates that it issues."""

import datetime
import ipaddress
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_NOW = datetime.timedelta()
_LIFE = datetime.timedelta(days=3650)


class OwnAuthority:
    """A root CA in memory; `certificate` and `private_key` are PEM."""

    def __init__(self, common_name: str = "our-own-ca") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(common_name)
        basic = x509.BasicConstraints(ca=True, path_length=None)
        made = _builder(self._name, self._name, self._key).add_extension(basic, critical=True)
        self.certificate = _pem(made.sign(self._key, hashes.SHA256()))
        self.private_key = _key_pem(self._key)

    def issue(
        self,
        common_name: str,
        names: Sequence[str] = (),
        addresses: Sequence[str] = (),
        life: datetime.timedelta = _LIFE,
        begins: datetime.timedelta = _NOW,
    ) -> tuple[str, str]:
        """A certificate for servers and clients, and its key, both PEM.

        Args:
            common_name: of the subject.
            names: DNS names.
            addresses: IP addresses.
            life: from now until it expires; negative: it has expired.
            begins: from now until it becomes valid.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _builder(_name(common_name), self._name, key, life, begins).add_extension(uses, critical=False)
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256())), _key_pem(key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    life: datetime.timedelta = _LIFE,
    begins: datetime.timedelta = _NOW,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(min(now + begins, now + 2 * life)).not_valid_after(now + life)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


@pytest.fixture(scope="session")
def own_authority() -> dict[str, str]:
    """A user's own CA: certificate and private key, PEM."""
    made = OwnAuthority()
    return {"certificate": made.certificate, "private_key": made.private_key}

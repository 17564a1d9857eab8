"""EtcdPki: the CAs of one etcd cluster and all certificates that they issue, by pulumi-tls.

Algorithms, key usages and names follow kubeadm's etcd certificates. etcd's own rules are in
https://etcd.io/docs/v3.6/op-guide/security/. All keys are ECDSA P-256. They exist only in the state, as secrets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NotRequired, TypedDict

import pulumi
import pulumi_tls as tls

from .dependencies import without_dependencies
from .irreplaceable import irreplaceable
from .plan import DEFAULT_AUTHORITY, AuthorityPlan, check_authority
from .plan.authorities import bundle, check_authorities, check_peer_authorities
from .plan.ca_certificate import check_different
from .plan.certificate_names import check_extra_names, split
from .plan.errors import refuse
from .plan.users import API_SERVERS, PROGRAM, PROMETHEUS

# Server certificates need clientAuth too: etcd's gRPC gateway dials its own client port with them
# (etcd-io/etcd#9785). Peers use one certificate as server and as client.
_SERVER_AND_CLIENT = ["digital_signature", "key_encipherment", "server_auth", "client_auth"]
_CLIENT = ["digital_signature", "key_encipherment", "client_auth"]
_AUTHORITY = ["digital_signature", "key_encipherment", "cert_signing"]

YEAR_HOURS = 8760
EARLY_RENEWAL_HOURS = 720
CA_HOURS = 10 * YEAR_HOURS
_ROTATION = 'in three updates (docs/operations.md, "Replace the CA")'


class Authority(TypedDict):
    """A certificate authority that the cluster trusts: a created one, or your own."""

    name: str
    """Its name, a DNS label, and part of resource names. Another authority must have another name, forever."""
    certificate: NotRequired[pulumi.Input[str]]
    """Certificate of your own CA, PEM. It must be a root. Default: a CA is created."""
    private_key: NotRequired[pulumi.Input[str]]
    """Private key of your own CA, PEM (secret). A CA that is only trusted needs none. Default: none."""


class PkiMember(TypedDict):
    """A member, as its certificates name it."""

    name: str
    """Member name: common name and DNS name of its certificates."""
    address: str
    """Private IP address of the member."""
    extra_names: NotRequired[list[str]]
    """More DNS names and IP addresses in its server and peer certificates. Default: none."""


class EtcdPkiArgs(TypedDict):
    """Arguments of `EtcdPki`."""

    members: list[PkiMember]
    """The members that get certificates."""
    validity_hours: NotRequired[int]
    """Lifetime of server, peer and client certificates, in hours. Default: 8760 (one year)."""
    early_renewal_hours: NotRequired[int]
    """The next `pulumi up` renews a certificate with less than this many hours left. Default: 720 (30 days)."""
    ca_validity_hours: NotRequired[int]
    """Lifetime of a created CA, in hours. An existing one keeps its own. Default: 87600 (ten years)."""
    authorities: NotRequired[list[Authority]]
    """The CAs that clients and servers trust. Default: a created one, named `1`."""
    issuer: NotRequired[str]
    """Name of the CA that issues their certificates. Default: the first."""
    peer_authorities: NotRequired[list[Authority]]
    """The CAs that members trust among each other. A name alone refers to the CA of that name in `authorities`.
    Default: the same as `authorities`, with the same issuer. The peer port then accepts every client certificate."""
    peer_issuer: NotRequired[str]
    """Name of the CA that issues the peer certificates. Default: the first of `peer_authorities`."""
    extra_names: NotRequired[list[str]]
    """More DNS names and IP addresses in every server certificate. Default: none."""
    users: NotRequired[list[str]]
    """etcd users; each gets a client certificate with its name as common name. Default: none."""
    prometheus: NotRequired[bool]
    """Whether Prometheus gets a client certificate. Default: false."""


@dataclass(frozen=True)
class _Issuer:
    """A CA that issues."""

    name: str
    key: pulumi.Output[str]
    certificate: pulumi.Output[str]
    created: pulumi.Resource | None
    """Its certificate, if this component creates it."""


class ClientCertificate(TypedDict):
    """A client certificate and its key."""

    certificate: str
    """Certificate, PEM."""
    private_key: str
    """Private key, PEM (secret)."""


def authorities_of(given: Sequence[Authority] | None) -> Sequence[Authority]:
    """The authorities with their default."""
    return [{"name": DEFAULT_AUTHORITY}] if given is None else given


def plan_of(authority: Authority) -> AuthorityPlan:
    """The authority without its certificate."""
    return AuthorityPlan(authority["name"], "certificate" in authority, "private_key" in authority)


class EtcdPki(pulumi.ComponentResource):
    """The CAs, the client certificates, and per member a server and a peer certificate.

    Children: `<name>-<authority>-ca` (PrivateKey, SelfSignedCert; absent for a CA of one's own),
    `<name>-<member>-server`, `<name>-<member>-peer`, `<name>-healthcheck-client` (for this program on all machines),
    `<name>-apiserver-etcd-client`, `<name>-prometheus-etcd-client` if asked for, and `<name>-<user>-user` (PrivateKey,
    CertRequest, LocallySignedCert each).
    """

    ca_certificate: pulumi.Output[str]
    """Certificates of all CAs that clients and servers trust, in the order of `authorities`, PEM."""
    peer_ca_certificate: pulumi.Output[str]
    """Certificates of all CAs that members trust among each other, in the order of `peer_authorities`, PEM."""
    apiserver_etcd_client: pulumi.Output[ClientCertificate]
    """Client certificate for kube-apiserver, without an Organization (secret)."""
    users: pulumi.Output[dict[str, ClientCertificate]]
    """User -> its client certificate, without an Organization (secret)."""
    prometheus_client: pulumi.Output[ClientCertificate | None]
    """Client certificate for Prometheus, without an Organization (secret). None: it was not asked for."""
    certificates: pulumi.Output[dict[str, str]]
    """When each certificate expires: `ca-1`, `apiserver-etcd-client`, `<member>/server`, ... -> RFC 3339 time."""
    clients: pulumi.Output[dict[str, str]]
    """The same for those that other programs have: `apiserver-etcd-client`, `prometheus-etcd-client`, `<user>-user`."""
    authorities: list[pulumi.Resource]
    """The created CAs. Without them, no certificate can be issued again."""

    def __init__(self, name: str, args: EtcdPkiArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:EtcdPki", name, None, opts)
        self._name = name
        self._validity_hours = int(args.get("validity_hours", YEAR_HOURS))
        self._early_renewal_hours = int(args.get("early_renewal_hours", EARLY_RENEWAL_HOURS))
        self._expiry: dict[str, pulumi.Input[str]] = {}
        self._clients: list[str] = []
        self._files: dict[str, dict[str, pulumi.Input[str]]] = {}
        self._issued: dict[str, list[pulumi.Resource]] = {}
        self.authorities = []
        self._made = pulumi.ResourceHookBinding(before_create=[irreplaceable(f"{name}-ca-in-use", _refusal)])

        authorities = authorities_of(args.get("authorities"))
        issuer = args.get("issuer", authorities[0]["name"] if authorities else "")
        peers = args.get("peer_authorities", authorities)
        own_peers = "peer_authorities" in args
        peer_issuer = args.get("peer_issuer", peers[0]["name"] if peers else "") if own_peers else issuer
        plans = [plan_of(each) for each in authorities]
        problems = check_authorities(plans, issuer)
        if own_peers:
            problems += check_peer_authorities([plan_of(each) for each in peers], peer_issuer, plans)
        self._shared_names = args.get("extra_names", [])
        named = [(each["name"], each["address"], each.get("extra_names", [])) for each in args["members"]]
        refuse(problems + check_extra_names(named, self._shared_names))
        trusted: dict[str, pulumi.Output[str]] = {}
        issuers: dict[str, _Issuer] = {}
        for authority in {each["name"]: each for each in [*peers, *authorities]}.values():
            name_of, issues = authority["name"], authority["name"] in (issuer, peer_issuer)
            if "certificate" in authority:
                where = "authorities" if authority in authorities else "peer_authorities"
                issuers[name_of] = self._own_authority(authority, where, issues=issues)
            else:
                lifetime = int(args.get("ca_validity_hours", CA_HOURS))
                issuers[name_of] = self._make_authority(name_of, lifetime, issues=issues)
            trusted[name_of] = issuers[name_of].certificate
        self._issuer, self._peer_issuer = issuers[issuer], issuers[peer_issuer]
        everything = pulumi.Output.all(**trusted).apply(_checked)
        self.ca_certificate = everything.apply(lambda known: bundle([known[each["name"]] for each in authorities]))
        self.peer_ca_certificate = everything.apply(lambda known: bundle([known[each["name"]] for each in peers]))

        # One for all machines. Each has the same rights, and etcd cannot revoke one: after a leak, the CA is replaced.
        self._program = self._issue("healthcheck-client", PROGRAM, _CLIENT)
        for member in args["members"]:
            self._issue_member(member)
        self.apiserver_etcd_client = self._issue_client("apiserver-etcd-client", API_SERVERS)
        self.prometheus_client = pulumi.Output.from_input(
            self._issue_client(PROMETHEUS, PROMETHEUS) if args.get("prometheus") else None
        )
        self.users = pulumi.Output.secret(
            pulumi.Output.all(**{user: self._issue_client(f"{user}-user", user) for user in args.get("users", [])})
        )
        self.certificates = pulumi.Output.all(**self._expiry)
        self.clients = pulumi.Output.all(**{name: self._expiry[name] for name in self._clients})
        self.register_outputs(
            {
                "ca_certificate": self.ca_certificate,
                "apiserver_etcd_client": self.apiserver_etcd_client,
                "users": self.users,
                "certificates": self.certificates,
            }
        )

    def files(self, member: str) -> pulumi.Output[dict[str, str]]:
        """File name -> PEM of the files for `member`'s machine (secret), without the CA's key."""
        return pulumi.Output.secret(pulumi.Output.all(**self._files[member]))

    def issued(self, member: str) -> list[pulumi.Resource]:
        """The certificates in `files`, which depend on everything else there."""
        return self._issued[member]

    def _own_authority(self, given: Authority, where: str, *, issues: bool) -> _Issuer:
        """The user's CA. Key and certificate fail with PlanError if it cannot be used."""

        def checked(pair: list[str | None]) -> list[str]:
            certificate, private_key = pair[0] or "", pair[1]
            key = f"{where}.{given['name']}"
            refuse(check_authority(certificate, private_key, self._validity_hours, key=key, issues=issues))
            return [certificate, private_key or ""]

        pair = pulumi.Output.all(given["certificate"], given.get("private_key")).apply(checked)
        # A certificate is public even if it came from a secret config value.
        return _Issuer(given["name"], pulumi.Output.secret(pair[1]), pulumi.Output.unsecret(pair[0]), None)

    def _make_authority(self, name: str, validity_hours: int, *, issues: bool) -> _Issuer:
        child = f"{self._name}-{name}-ca"
        key = tls.PrivateKey(
            child,
            algorithm="ECDSA",
            ecdsa_curve="P256",
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=False, hooks=self._made),
        )
        certificate = tls.SelfSignedCert(
            child,
            private_key_pem=key.private_key_pem,
            is_ca_certificate=True,
            # A name per CA, so that a certificate shows its issuer.
            subject=tls.SelfSignedCertSubjectArgs(common_name=f"etcd-ca-{name}"),
            allowed_uses=_AUTHORITY,
            set_subject_key_id=True,
            validity_period_hours=validity_hours,
            # Another lifetime would replace the CA's certificate everywhere at once.
            opts=pulumi.ResourceOptions(
                parent=self, ignore_changes=["validityPeriodHours"], delete_before_replace=False, hooks=self._made
            ),
        )
        self.authorities.append(certificate)
        self._expiry[f"ca-{name}"] = certificate.validity_end_time
        if issues:
            certificate.validity_end_time.apply(lambda end: self._warn_of_end(name, end))
        # The certificate depends on the key.
        return _Issuer(name, without_dependencies(key.private_key_pem), certificate.cert_pem, certificate)

    def _warn_of_end(self, name: str, end: str) -> None:
        """Warns of a CA that expires before the certificates that it issues. (The user's own CA is refused then.)"""
        left = datetime.fromisoformat(end) - datetime.now(UTC)
        if left < timedelta(hours=self._validity_hours):
            pulumi.log.warn(
                f"The CA {name} expires at {end}, before the certificates that it issues now. After that, members and "
                f"clients refuse each other, and no update can replace the CA. Replace it before, {_ROTATION}.",
                self,
            )

    def _issue_member(self, member: PkiMember) -> None:
        name, address = member["name"], member["address"]
        files: dict[str, pulumi.Input[str]] = {
            "ca.crt": self.ca_certificate,
            "peer-ca.crt": self.peer_ca_certificate,
            "healthcheck-client.crt": self._program[0].cert_pem,
            "healthcheck-client.key": self._program[1],
        }
        self._files[name], self._issued[name] = files, [self._program[0]]
        own_names, own_addresses = split(member.get("extra_names", []))
        all_names, all_addresses = split(self._shared_names)
        # Only this member's names: a stolen key then impersonates one machine. Local tools use 127.0.0.1 and localhost.
        # Peers use only its name and address. Names shared by all members, such as a load balancer's, are for clients.
        for kind, issuer, dns_names, addresses in (
            (
                "server",
                self._issuer,
                [name, "localhost", *own_names, *all_names],
                [address, "127.0.0.1", *own_addresses, *all_addresses],
            ),
            ("peer", self._peer_issuer, [name, *own_names], [address, *own_addresses]),
        ):
            certificate, files[f"{kind}.key"] = self._issue(
                f"{name}-{kind}",
                name,
                _SERVER_AND_CLIENT,
                dns_names=dns_names,
                addresses=addresses,
                expiry_key=f"{name}/{kind}",
                issuer=issuer,
            )
            files[f"{kind}.crt"] = certificate.cert_pem
            self._issued[name].append(certificate)

    def _issue_client(self, suffix: str, common_name: str) -> pulumi.Output[ClientCertificate]:
        self._clients.append(suffix)
        certificate, key = self._issue(suffix, common_name, _CLIENT)
        pair = pulumi.Output.all(certificate.cert_pem, key)
        return pulumi.Output.secret(pair.apply(lambda both: {"certificate": both[0], "private_key": both[1]}))

    def _issue(
        self,
        suffix: str,
        common_name: str,
        uses: list[str],
        *,
        dns_names: list[str] | None = None,
        addresses: list[str] | None = None,
        expiry_key: str | None = None,
        issuer: _Issuer | None = None,
    ) -> tuple[tls.LocallySignedCert, pulumi.Output[str]]:
        """Issues one certificate with its own key; returns the certificate, and the key as PEM."""
        child = f"{self._name}-{suffix}"
        issuer = issuer or self._issuer
        created, authority = ([issuer.created] if issuer.created else []), issuer.certificate
        if created:
            authority = without_dependencies(authority)
        # Another CA means another key. So replacing the CA after a leak is enough, whichever key has leaked.
        # A created CA comes first: `prepare` of every machine waits for CAs alone, and takes longer than the rest.
        key = tls.PrivateKey(
            child,
            algorithm="ECDSA",
            ecdsa_curve="P256",
            opts=pulumi.ResourceOptions(parent=self, depends_on=created, replacement_trigger=issuer.name),
        )
        private_key: pulumi.Output[str] = without_dependencies(key.private_key_pem)
        request = tls.CertRequest(
            child,
            private_key_pem=private_key,
            subject=tls.CertRequestSubjectArgs(common_name=common_name),
            dns_names=dns_names or None,
            ip_addresses=addresses or None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[key]),
        )
        requested: pulumi.Output[str] = without_dependencies(request.cert_request_pem)
        certificate = tls.LocallySignedCert(
            child,
            cert_request_pem=requested,
            ca_private_key_pem=issuer.key,
            ca_cert_pem=authority,
            allowed_uses=uses,
            validity_period_hours=self._validity_hours,
            early_renewal_hours=self._early_renewal_hours,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[request, *created]),
        )
        self._expiry[expiry_key or suffix] = certificate.validity_end_time
        return certificate, key.private_key_pem


def _refusal(name: str) -> str:
    return (
        f"The CA {name} must not be replaced in place: the members trust it and would not accept another one. Nothing "
        f"was changed. To replace it, add a CA with another name to `authorities`, {_ROTATION}. If it has expired and "
        "another CA issues the certificates, remove it from the list. If it is the issuer, see docs/operations.md, "
        '"Certificates that have expired".'
    )


def _checked(certificates: dict[str, str]) -> dict[str, str]:
    """The certificates; raises PlanError if two authorities have the same one."""
    refuse(check_different({f"authorities.{name}.certificate": pem for name, pem in certificates.items()}))
    return certificates

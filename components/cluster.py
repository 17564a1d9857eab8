"""EtcdCluster: PKI, members, bootstrap, health, and what Kubernetes needs of them."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NotRequired, TypedDict, TypeVar, cast

import pulumi

from . import bundle
from .change import accept, announce
from .kept import keep
from .kubernetes import kubeadm
from .machine import Machine
from .member import EtcdMember
from .operator import new_operator
from .pki import (
    Authority,
    ClientCertificate,
    EtcdPki,
    EtcdPkiArgs,
    authorities_of,
    plan_of,
)
from .plan import ClusterPlan, MemberPlan, UserPlan, member_specs, spec_text, warnings, with_users
from .plan.authorities import DEFAULT_PEER_AUTHORITY, peers_have_their_own
from .plan.errors import refuse
from .plan.flags import PKI_DIRECTORY
from .plan.guard.state import State, read_state, wanted_state
from .plan.places import check_places
from .plan.releases import check_headers
from .plan.spec import DEFAULT_DATA_DIRECTORY, client_urls
from .whole import proved, refuse_parts

_T = TypeVar("_T")
# Arguments of these names are what the plan calls so too.
_PLANNED = {each.name for each in fields(ClusterPlan)}


class Certificates(TypedDict):
    """Lifetimes of the certificates that are issued here."""

    validity_hours: NotRequired[int]
    """Lifetime of server, peer and client certificates, in hours. Default: 8760 (one year)."""
    early_renewal_hours: NotRequired[int]
    """A certificate with less than this many hours left is renewed by the next `pulumi up`. Default: 720 (30 days)."""
    ca_validity_hours: NotRequired[int]
    """Lifetime of a CA that is made, in hours; one that exists keeps its own. Default: 87600 (ten years)."""


class User(TypedDict):
    """A client beside the API servers: a user of etcd with a client certificate, a role and keys."""

    name: str
    """Its name, a DNS label: the common name of its certificate."""
    prefix: str
    """It reaches the keys that begin with this text, and no others."""
    permission: str
    """What it can do with them: `read`, `write` or `readwrite`."""


class EtcdClusterArgs(TypedDict):
    """Arguments of `EtcdCluster`."""

    members: list[Machine]
    """The slots, in the order in which changes go through them: an odd number, 1 to 7."""
    version: NotRequired[str]
    """etcd release, `X.Y.Z`. Default: 3.6.16."""
    cluster_name: NotRequired[str]
    """Name of the cluster, a DNS label. Default: the component's name."""
    quota: NotRequired[str]
    """Size of the database at which writes end: bytes, or a number with KiB, MiB or GiB. Default: `2GiB`."""
    flags: NotRequired[dict[str, str]]
    """Further flags of etcd, name without dashes -> value; unknown ones are refused. Default: none."""
    metrics: NotRequired[str]
    """Who reaches the metrics port 2381: `loopback`, or `private` for the private address. Default: `loopback`."""
    heartbeat_interval_ms: NotRequired[int]
    """Interval of the leader's heartbeat, in ms. Default: etcd's own, 100."""
    election_timeout_ms: NotRequired[int]
    """Time without a heartbeat until an election, in ms; at least 5 heartbeats. Default: etcd's own, 1000."""
    release_mirror: NotRequired[str]
    """Where machines fetch releases from: `<mirror>/v<version>/<archive>`. Default: etcd's releases on GitHub."""
    release_sha256: NotRequired[dict[str, str]]
    """Architecture (`amd64`, `arm64`) -> SHA-256 of the archive. Default: the mirror's SHA256SUMS are believed."""
    release_proxy: NotRequired[str]
    """The proxy through which machines fetch releases, `http://host:port`. Default: that of their environment."""
    release_headers: NotRequired[dict[str, pulumi.Input[str]]]
    """Headers that the mirror wants, such as `Authorization`; for the proxy `Proxy-Authorization` (secret). Default:
    none."""
    certificates: NotRequired[Certificates]
    """Lifetimes of the certificates. Default: each field's own."""
    authorities: NotRequired[list[Authority]]
    """The CAs that are trusted; one is replaced by another in three updates. Default: one that is made, named `1`."""
    issuer: NotRequired[str]
    """Name of the CA that issues the certificates. Default: the first."""
    peer_authorities: NotRequired[list[Authority]]
    """The CAs that members trust among each other; the name alone stands for the one of that name in `authorities`.
    Default: for a new cluster (`previous` is given as None) one that is made, named `peer-1`, unless `authorities` has
    a CA of one's own; a cluster that exists keeps what it has; without `previous` the same as `authorities`."""
    peer_issuer: NotRequired[str]
    """Name of the CA that issues the peer certificates. Default: the first of `peer_authorities`."""
    extra_names: NotRequired[list[str]]
    """DNS names and IP addresses that the server certificate of every member has beside its own, such as those of a
    load balancer. Default: none."""
    authentication: NotRequired[bool]
    """Whether etcd asks which user a client is, by the common name of its certificate; API servers and this program
    are root. Default: false, every client certificate can do everything."""
    users: NotRequired[list[User]]
    """Users beside those, with `authentication`. Default: none."""
    previous: NotRequired[dict[str, Any] | None]
    """What the last update left in the output `applied`, as `previous_update` reads it: a change that cannot be made in
    one update is refused. Default, and None: nothing is compared, and the machines alone refuse."""
    override: NotRequired[str]
    """What a refusal printed, to make exactly that change all the same, once. Default: nothing is overridden."""


class EtcdCluster(pulumi.ComponentResource):
    """An etcd cluster on machines that exist, bootstrapped, converged and proved healthy.

    Children: `<name>-pki` (`EtcdPki`), `<name>-<member>` (`EtcdMember`) per member, `<name>-bootstrap`
    (a `pulumi.Stash` that remembers the members with which the cluster was bootstrapped, and its token),
    `<name>-change` and `<name>-machines` (two whose ID is another one after every change of what is wanted, and of who
    the members are), `<name>-health` and `<name>-whole` (a command whose deletion fails unless the whole cluster is
    deleted).

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy, and its subclass
    `ChangeRefusedError` on a change that cannot be made in one update.
    """

    endpoints: pulumi.Output[list[str]]
    """Client URL of every member; resolves only when the cluster has been proved healthy."""
    ca_certificate: pulumi.Output[str]
    """Certificates of the CAs that clients trust, PEM; as `endpoints`, when every member is healthy with them."""
    peer_ca_certificate: pulumi.Output[str]
    """Certificates of the CAs that members trust among each other, PEM; of no use to clients."""
    apiserver_etcd_client: pulumi.Output[ClientCertificate]
    """Client certificate and key for kube-apiserver, PEM (secret); when every member is healthy and accepts it."""
    users: pulumi.Output[dict[str, ClientCertificate]]
    """User -> its client certificate and key, PEM (secret); when etcd has the user."""
    kubeadm: pulumi.Output[str]
    """ClusterConfiguration (kubeadm.k8s.io/v1beta4) with `etcd.external`."""
    kubeadm_files: pulumi.Output[dict[str, str]]
    """Path on a control plane -> content of the files that `kubeadm` names (secret)."""
    members: pulumi.Output[list[dict[str, str]]]
    """Per member `name`, `address`, `endpoint`, `id` and `version`."""
    certificates: pulumi.Output[dict[str, str]]
    """When each certificate expires: `ca-1`, `apiserver-etcd-client`, `<member>/server`, ... -> RFC 3339 time."""
    etcdctl: pulumi.Output[str]
    """An etcdctl command line that works as it is for root on every member."""
    applied: pulumi.Output[dict[str, Any]]
    """What this update has done, to be `previous` of the next; resolves when the cluster has been proved healthy."""

    def __init__(self, name: str, args: EtcdClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = with_peers(args)
        plan = cluster_plan(name, args, [_member_plan(each) for each in args["members"]], bundle.digest())
        refuse(check_headers(args.get("release_headers", {})))
        before = read_state(args.get("previous"))
        misplaced, placed = check_places(
            {member.name: member.data_directory for member in plan.members},
            {} if before is None else before.data_directories,
            lambda index, _: f"members[{index}].data_directory",
        )
        refuse(misplaced)
        specs = member_specs(plan)
        first = with_users(next(iter(specs.values())), plan)
        verdict = accept(args.get("previous"), _wanted(plan, args), args.get("override", ""))
        super().__init__("external-etcd:index:EtcdCluster", name, None, opts)
        announce(verdict, self)
        for warning in [*warnings(plan), *placed]:
            pulumi.log.warn(warning, resource=self)
        child = pulumi.ResourceOptions(parent=self)

        # Remembers what the first update put in. The token differs at every bootstrap, so that a machine that was away
        # while its cluster was destroyed and made anew belongs to another cluster, and etcd keeps the two apart. The
        # operator is the same in every run from this state; a second checkout with a state of its own has another.
        initial_cluster = keep(
            f"{name}-bootstrap",
            {
                "members": [machine["name"] for machine in args["members"]],
                "token": f"{plan.name}-{secrets.token_hex(4)}",
                "operator": new_operator(),
            },
            self,
        )
        operator = initial_cluster.output.apply(lambda known: known["operator"])
        # Pulumi notes what a command was given when the command has ended. A run that is killed in between leaves the
        # old inputs in the state, and if the configuration is then set back, nothing differs, whatever has happened on
        # the machine. So each change of the wanted state has an ID that never was before, noted before any machine
        # changes and given to every member.
        # The same of what all machines are prepared for: a machine that is being retired when a run is killed has to be
        # prepared again if it is wanted again.
        anew = pulumi.ResourceOptions(parent=self, replace_on_changes=["input"])
        texts = map(spec_text, [first, *list(specs.values())[1:]])
        change = pulumi.Stash(f"{name}-change", input=_digest(*texts), opts=anew)
        machines = pulumi.Stash(
            f"{name}-machines",
            input=_digest(
                *(json.dumps([each["name"], each["address"], each.get("firewall")]) for each in args["members"])
            ),
            opts=anew,
        )

        pki = EtcdPki(f"{name}-pki", _pki_args(args), child)
        members = [
            EtcdMember(
                f"{name}-{machine['name']}",
                {
                    "machine": machine,
                    "spec": specs[machine["name"]],
                    "files": pki.files(machine["name"]),
                    "operator": operator,
                    "after": [initial_cluster, *pki.authorities],
                    "change": change.id,
                    "machines": machines.id,
                    "headers": args.get("release_headers", {}),
                },
                child,
            )
            for machine in args["members"]
        ]
        # Two barriers and a chain: nothing starts before every machine is prepared; nobody waits for a quorum before
        # all initial members have been started; after that one member at a time.
        prepared = [member.prepared for member in members]
        refuse_parts(
            name, plan.name, args["members"][0], initial_cluster=initial_cluster, prepared=prepared, parent=self
        )
        # A cluster that an update has proved healthy is never bootstrapped again: a slot that comes later, also
        # under an initial member's name, and finds no member that answers, must not begin another one.
        existed = args.get("previous") is not None
        bootstrap = initial_cluster.output.apply(lambda known: {**known, "members": []} if existed else known)
        done = [member.bootstrap(bootstrap, prepared) for member in members]
        named = {machine["name"]: member for machine, member in zip(args["members"], members, strict=True)}
        for slot in verdict.chain:
            done = [*done[: len(members)], named[slot].converge(done, with_users(specs[slot], plan))]
        health, healthy = members[0].health(
            f"{name}-health",
            first,
            changes={
                "applied": verdict.state.data(),
                "members": {slot: member.changes for slot, member in named.items()},
            },
            after=done,
            parent=self,
        )

        # Everything that a consumer connects with passes through the health check, so that nothing downstream
        # starts on a sick cluster, or is given certificates that not every member takes yet.
        proof: pulumi.Output[bool] = pulumi.Output.from_input(proved(name, list(named), health))
        report = _after(proof, healthy).apply(json.loads)
        endpoints = client_urls(plan)
        addresses = {member.name: member.address for member in plan.members}
        self.endpoints = report.apply(lambda _: endpoints)
        self.ca_certificate = _after(report, pki.ca_certificate)
        self.peer_ca_certificate = _after(report, pki.peer_ca_certificate)
        self.apiserver_etcd_client = _after(report, pki.apiserver_etcd_client)
        self.users = _after(report, pki.users)
        self.kubeadm = self.endpoints.apply(kubeadm.cluster_configuration)
        self.kubeadm_files = pulumi.Output.secret(
            pulumi.Output.all(ca=self.ca_certificate, client=self.apiserver_etcd_client).apply(
                lambda parts: kubeadm.files(parts["ca"], parts["client"]["certificate"], parts["client"]["private_key"])
            )
        )
        self.members = report.apply(
            lambda found: [
                {"address": addresses[row["name"]], **{key: row[key] for key in ("name", "endpoint", "id", "version")}}
                for row in found["members"]
            ]
        )
        self.certificates = pki.certificates
        self.etcdctl = self.endpoints.apply(_etcdctl)
        # From what the health check was asked about, and not from what is wanted now: an update that leaves the check
        # out (`--target`) has not applied it.
        self.applied = pulumi.Output.all(health.stdin, report).apply(lambda both: _applied(*both))
        self.register_outputs(
            {
                "endpoints": self.endpoints,
                "ca_certificate": self.ca_certificate,
                "peer_ca_certificate": self.peer_ca_certificate,
                "apiserver_etcd_client": self.apiserver_etcd_client,
                "users": self.users,
                "kubeadm": self.kubeadm,
                "kubeadm_files": self.kubeadm_files,
                "members": self.members,
                "certificates": self.certificates,
                "etcdctl": self.etcdctl,
                "applied": self.applied,
            }
        )


def _digest(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]


def _after(proof: pulumi.Output[Any], value: pulumi.Output[_T]) -> pulumi.Output[_T]:
    """The value, from the moment on at which the proof is there."""
    return pulumi.Output.all(proof, value).apply(lambda both: cast(_T, both[1]))


def with_peers(args: EtcdClusterArgs) -> EtcdClusterArgs:
    """The arguments with the CA of the peers, where its default is one of their own: `previous` says whether."""
    plans = [plan_of(each) for each in authorities_of(args.get("authorities"))]
    # Who compares with nothing says nothing of whether the cluster exists.
    if "peer_authorities" in args or "previous" not in args or not peers_have_their_own(args["previous"], plans):
        return args
    return {**args, "peer_authorities": [{"name": DEFAULT_PEER_AUTHORITY}]}


def cluster_plan(name: str, args: EtcdClusterArgs, members: Sequence[MemberPlan], program: str = "") -> ClusterPlan:
    """The cluster that arguments describe, every default filled in.

    Args:
        name: the component's; the default name of the cluster.
        args: the arguments, whose `members` are not looked at.
        members: the members, in order.
        program: digest of the program that the machines get; empty: not known.
    """
    authorities, peers = authorities_of(args.get("authorities")), args.get("peer_authorities")
    # Numbers come as floats when the component is used from another language.
    given: dict[str, Any] = {
        key: int(value) if isinstance(value, float) else value for key, value in args.items() if key in _PLANNED
    }
    given |= {
        "name": args.get("cluster_name", name),
        "members": members,
        "program": program,
        "authorities": [plan_of(each) for each in authorities],
        "issuer": args.get("issuer", authorities[0]["name"] if authorities else ""),
        "peer_authorities": None if peers is None else [plan_of(each) for each in peers],
        "peer_issuer": args.get("peer_issuer", peers[0]["name"] if peers else ""),
        "users": [UserPlan(each["name"], each["prefix"], each["permission"]) for each in args.get("users", [])],
    }
    return ClusterPlan(**given)


def _member_plan(machine: Machine) -> MemberPlan:
    directory = machine.get("data_directory", DEFAULT_DATA_DIRECTORY)
    return MemberPlan(machine["name"], machine["address"], directory, machine.get("extra_names", []))


def _wanted(plan: ClusterPlan, args: EtcdClusterArgs) -> State:
    """What is wanted, in the guard's terms; what is known only during the update is left out."""
    authorities = [*args.get("peer_authorities", ()), *authorities_of(args.get("authorities"))]
    certificates = {each["name"]: each.get("certificate", "") for each in authorities}
    identities = {}
    for machine in args["members"]:
        # A machine that was installed anew has another host key.
        parts = [machine.get("identity", ""), machine["ssh"]["host_key"]]
        if all(isinstance(part, str) for part in parts):
            identities[machine["name"]] = " ".join(str(part) for part in parts)
    return wanted_state(
        plan,
        generations={each["name"]: int(each["generation"]) for each in args["members"] if "generation" in each},
        identities=identities,
        certificates={name: text for name, text in certificates.items() if isinstance(text, str)},
        on_volumes=all("data_device" in each for each in args["members"]),
        origins={each["name"]: each["origin"] for each in args["members"] if "origin" in each},
    )


def _applied(asked: str, report: dict[str, Any]) -> dict[str, Any]:
    sizes = [int(row["db_size_bytes"]) for row in report["members"]]
    applied: dict[str, Any] = json.loads(asked)["changes"]["applied"]
    return {**applied, "database_bytes": max(sizes)}


def _pki_args(args: EtcdClusterArgs) -> EtcdPkiArgs:
    pki: EtcdPkiArgs = {
        "members": [
            {"name": each["name"], "address": each["address"], "extra_names": each.get("extra_names", [])}
            for each in args["members"]
        ],
        "users": [user["name"] for user in args.get("users", [])],
    }
    same = ("authorities", "issuer", "peer_authorities", "peer_issuer", "extra_names")
    given = {**args.get("certificates", {}), **{name: each for name, each in args.items() if name in same}}
    return cast(EtcdPkiArgs, {**pki, **given})


def _etcdctl(endpoints: list[str]) -> str:
    return (
        f"etcdctl --endpoints={','.join(endpoints)} --cacert={PKI_DIRECTORY}/ca.crt "
        f"--cert={PKI_DIRECTORY}/healthcheck-client.crt --key={PKI_DIRECTORY}/healthcheck-client.key "
        "endpoint status --write-out=table"
    )

"""EtcdCluster: PKI, members, bootstrap, health check, and the outputs that Kubernetes needs."""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, TypeVar, cast

import pulumi
from pulumi_command import remote

from . import bundle
from .backup import Backup, credentials, plan_of_backup
from .guard import accept, announce, read_output, warn_if_not_exported
from .kubernetes import kubeadm
from .machine import Machine
from .member import EtcdMember
from .migration import EtcdMigration, Migration, plan_of_migration
from .node.service.client_certificates import replaced
from .node.shared.paths import MAY_BEGIN
from .operator import new_operator
from .partial_deletion import proved_healthy, refuse_partial_deletion
from .pinned_values import pin
from .pki import EARLY_RENEWAL_HOURS, Authority, ClientCertificate, EtcdPki, EtcdPkiArgs, authorities_of, plan_of
from .plan import AuthorityPlan, ClusterPlan, MemberPlan, Spec, UserPlan, member_specs, spec_text, warnings, with_users
from .plan.applied import CHECKED, CLIENTS, DRIFT, EARLY_RENEWAL, MEASURED, measurements
from .plan.authorities import DEFAULT_PEER_AUTHORITY, peers_have_their_own
from .plan.client_certificates import remembered
from .plan.data_directories import check_data_directories
from .plan.drift import put_right
from .plan.errors import Problem, refuse, shown
from .plan.flags import PKI_DIRECTORY
from .plan.guard import Verdict
from .plan.guard.rules import Spelled
from .plan.guard.state import State, directories_before, read_state, wanted_state
from .plan.maintenance import MaintenancePlan
from .plan.migration import AUTHORITY, BACK, DONE
from .plan.releases import check_headers
from .plan.restore import check_snapshot
from .plan.service_managers import check_image_credentials
from .plan.spec import DEFAULT_DATA_DIRECTORY, client_urls
from .plan.timers import AUTO, Timers, derived
from .restore import Restore, RestoreCommands, check_previous, plan_of_restore, restores_of

if TYPE_CHECKING:
    IntOrAuto = int | Literal["auto"]
else:
    # The schema for other languages has no unions.
    IntOrAuto = Any
_T = TypeVar("_T")
# Arguments that the plan takes under the same name.
_PLANNED = {each.name for each in fields(ClusterPlan)}


class Certificates(TypedDict):
    """Lifetimes of the issued certificates."""

    validity_hours: NotRequired[int]
    """Lifetime of server, peer and client certificates, in hours. Default: 8760 (one year)."""
    early_renewal_hours: NotRequired[int]
    """The next `pulumi up` renews a certificate with less than this many hours left. Default: 720 (30 days)."""
    ca_validity_hours: NotRequired[int]
    """Lifetime of a created CA, in hours. An existing one keeps its own. Default: 87600 (ten years)."""


class User(TypedDict):
    """A client other than the API servers: a user of etcd with a client certificate, a role and a key prefix."""

    name: str
    """Its name, a DNS label: the common name of its certificate."""
    prefix: str
    """It has access only to keys that begin with this text."""
    permission: str
    """Its access to these keys: `read`, `write` or `readwrite`."""


class Maintenance(TypedDict):
    """What machines do by themselves about the size of the database, and the rule for a defragmentation."""

    defragment: NotRequired[bool]
    """Whether each member is defragmented when the rule says so: one at a time, the leader last. Default: false."""
    in_use_percent: NotRequired[int]
    """The rule: at most this share of the database file is in use, in percent. Default: 50."""
    quota_percent: NotRequired[int]
    """And the file has at least this share of the quota, in percent. Default: 25."""
    recover_space: NotRequired[bool]
    """Whether a full database (alarm NOSPACE) is compacted to the present revision and defragmented, and the alarm
    disarmed. Default: false."""


class EtcdSettings(TypedDict):
    """What a cluster is, without its members."""

    version: NotRequired[str]
    """etcd release, `X.Y.Z`. Default: 3.6.16."""
    cluster_name: NotRequired[str]
    """Name of the cluster, a DNS label. Default: the component's name."""
    quota: NotRequired[str]
    """Size of the database at which etcd stops accepting writes: bytes, or a number with KiB, MiB or GiB. Default:
    `2GiB`."""
    flags: NotRequired[dict[str, str]]
    """More flags of etcd, name without dashes -> value. Unknown ones are refused. Default: none."""
    metrics: NotRequired[str]
    """Address of the metrics port 2381: `loopback`, or `private` for the private address too. Default: `loopback`."""
    heartbeat_interval_ms: NotRequired[IntOrAuto]
    """Interval of the leader's heartbeats, in ms, or `auto`: both timers are derived from the measured round trips
    between members, which needs `previous`. Default: 100 (etcd's own)."""
    election_timeout_ms: NotRequired[int]
    """Time without a heartbeat before an election, in ms: at least five heartbeats. Default: 1000 (etcd's own)."""
    release_mirror: NotRequired[str]
    """Where machines download releases: `<mirror>/v<version>/<archive>`. Default: etcd's releases on GitHub."""
    release_sha256: NotRequired[dict[str, str]]
    """Architecture (`amd64`, `arm64`) -> SHA-256 of the archive. Default: the mirror's SHA256SUMS."""
    release_proxy: NotRequired[str]
    """Proxy through which machines download releases, `http://host:port`. Default: the proxy of their environment."""
    release_headers: NotRequired[dict[str, pulumi.Input[str]]]
    """Headers for the mirror, like `Authorization`, and `Proxy-Authorization` for the proxy (secret). Default: none."""
    certificates: NotRequired[Certificates]
    """Lifetimes of the certificates. Default: as in `Certificates`."""
    authorities: NotRequired[list[Authority]]
    """The trusted CAs. Replacing one takes three updates. Default: a created one, named `1`."""
    issuer: NotRequired[str]
    """Name of the CA that issues the certificates. Default: the first."""
    peer_authorities: NotRequired[list[Authority]]
    """The CAs that members trust among each other. A name alone refers to the CA of that name in `authorities`.
    Default for a new cluster (`previous` is None): a created one, named `peer-1`, or the same as `authorities` if those
    are your own. An existing cluster keeps what it has. Without `previous`: the same as `authorities`."""
    peer_issuer: NotRequired[str]
    """Name of the CA that issues the peer certificates. Default: the first of `peer_authorities`."""
    extra_names: NotRequired[list[str]]
    """More DNS names and IP addresses in the server certificate of every member, such as those of a load balancer.
    Default: none."""
    authentication: NotRequired[bool]
    """Whether etcd checks the user of a client, by the common name of its certificate. API servers and this program are
    root. Default: false, every client certificate has full access."""
    users: NotRequired[list[User]]
    """Clients other than the API servers, with `authentication`. Default: none."""
    prometheus: NotRequired[bool]
    """Whether Prometheus scrapes the members. Their machines then write metrics of their own. With `metrics: private`,
    they serve them on port 2382; otherwise Prometheus gets a client certificate. Default: false."""
    kubernetes_version: NotRequired[str]
    """Version of the Kubernetes that uses the cluster, `1.Y` or `1.Y.Z`, for the output `kubeadm`: v1beta3 below 1.31,
    else v1beta4; with the patch, that release. Default: v1beta4, without a release."""
    maintenance: NotRequired[Maintenance]
    """What machines do by themselves about the size of the database. Default: nothing."""
    service_manager: NotRequired[str]
    """What runs etcd on the machines: `systemd`, or `kubelet`, with a static pod. Default: `systemd`."""
    etcd_image: NotRequired[str]
    """etcd's image for the kubelet, with the release `version`: by digest, `registry.example.com/etcd@sha256:HEX`, or
    an archive of it, as `docker save` writes it: `URL#sha256=HEX`. An archive can also have the image of the pod's
    sandbox. Default: none, because systemd needs none."""
    etcd_image_credentials: NotRequired[pulumi.Input[str]]
    """`USER:PASSWORD` for the registry of an image by digest (secret). Default: none."""
    migration: NotRequired[Migration]
    """The migration from stacked etcd, in phases. Its CA, named `kubeadm`, is the default of `authorities`, where that
    name alone refers to it. It must stay, in the phase `done`, as long as that CA is trusted. Default: none."""
    backup: NotRequired[Backup]
    """Snapshots on a schedule, encrypted and kept elsewhere. Default: none."""
    restore: NotRequired[Restore]
    """A restore from a snapshot, once. Needs `previous`. Default: none."""
    drift_check: NotRequired[str]
    """Every new text, such as the date, has the machines compared with what was installed. What differs is in the
    output `drift`, and the update after that puts it right; with `previous`. Default: they are not compared."""
    acknowledge: NotRequired[list[str]]
    """What is accepted although it is slower than etcd requires: `slow-disk`, `slow-link`. Default: nothing, so it is
    refused before a member begins."""
    previous: NotRequired[dict[str, Any] | None]
    """The output `applied` of the last update, as `previous_update` reads it. A change that cannot be made in one
    update is refused. Default, or None: nothing is compared, and only the machines can refuse a change."""
    previous_output: NotRequired[str]
    """Name of the stack's output with which the program exports `applied`: `previous` is read from it. For programs
    that cannot await `previous_update`. Default: `previous` is used as it is given."""
    override: NotRequired[str]
    """The text that a refused change printed, to make exactly that change once. Default: nothing is overridden."""


class EtcdClusterArgs(EtcdSettings):
    """Arguments of `EtcdCluster`."""

    members: list[Machine]
    """The 1, 3, 5 or 7 slots. Changes go through them in this order."""


class EtcdOutputs(pulumi.ComponentResource):
    """The outputs of a cluster, whoever creates its machines."""

    endpoints: pulumi.Output[list[str]]
    """Client URL of every member. Resolves only after the health check has passed."""
    ca_certificate: pulumi.Output[str]
    """Certificates of the CAs that clients trust, PEM. Resolves like `endpoints`."""
    peer_ca_certificate: pulumi.Output[str]
    """Certificates of the CAs that members trust among each other, PEM. Clients do not need them."""
    apiserver_etcd_client: pulumi.Output[ClientCertificate]
    """Client certificate and key for kube-apiserver, PEM (secret). Resolves when every member accepts it."""
    users: pulumi.Output[dict[str, ClientCertificate]]
    """User -> its client certificate and key, PEM (secret). Resolves when the user exists in etcd."""
    prometheus_client: pulumi.Output[ClientCertificate | None]
    """Client certificate and key for Prometheus, PEM (secret). None: it needs none. Resolves like
    `apiserver_etcd_client`."""
    kubeadm: pulumi.Output[str]
    """ClusterConfiguration with `etcd.external`, YAML."""
    kubeadm_files: pulumi.Output[dict[str, str]]
    """Path on a control plane -> content of the files that `kubeadm` names (secret)."""
    members: pulumi.Output[list[dict[str, Any]]]
    """Per member `name`, `address`, `endpoint`, `id` and `version`, and at the last health check the size of its
    database and how much of it was in use: `database_bytes` and `in_use_bytes`."""
    certificates: pulumi.Output[dict[str, str]]
    """When each certificate expires: `ca-1`, `apiserver-etcd-client`, `<member>/server`, ... -> RFC 3339 time."""
    etcdctl: pulumi.Output[str]
    """An etcdctl command line for root on any member."""
    backup: pulumi.Output[dict[str, Any]]
    """The last snapshot that is kept elsewhere, as the last health check found it: `name`, `place`, `member`, `taken`
    (RFC 3339 time), `revision`, `keys`, `hash`, `bytes`, `database_bytes`, `version`, and `drill`: the last restore
    that was `proved`, and the drill that `failed` after it, each with `at` (RFC 3339 time), `name` and `member`. Empty
    without one."""
    drift: pulumi.Output[dict[str, list[str]]]
    """Member -> what others had changed on its machine when it was last asked (`drift_check`), one line each. The next
    update puts it right."""
    applied: pulumi.Output[dict[str, Any]]
    """What this update applied: `previous` of the next one, and what `external-etcd status` shows. No secret. Resolves
    like `endpoints`."""


class EtcdCluster(EtcdOutputs):
    """An etcd cluster on existing machines: bootstraps it, converges it and proves that it is healthy.

    Children: `<name>-pki` (`EtcdPki`), `<name>-<member>` (`EtcdMember`) per member, `<name>-bootstrap` (a
    `pulumi.Stash` with the initial members and the cluster token), `<name>-change` and `<name>-machines` (Stashes whose
    IDs change with every change of the desired state or of the members), `<name>-health`, and `<name>-whole` (a command
    whose deletion fails unless the whole cluster is deleted).

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy, and its subclass
    `ChangeRefusedError` on a change that cannot be made in one update.
    """

    def __init__(self, name: str, args: EtcdClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args, plan, placed, specs, verdict = _checked(name, args)
        first = with_users(next(iter(specs.values())), plan)
        super().__init__("external-etcd:index:EtcdCluster", name, None, opts)
        announce(verdict, self)
        for warning in [*warnings(plan), *placed]:
            pulumi.log.warn(warning, resource=self)
        child = pulumi.ResourceOptions(parent=self)
        if plan.phase == BACK:
            self._go_back(name, args, plan)
            return

        # Keeps the values of the first update. Each bootstrap has its own token: a machine that was down while its
        # cluster was destroyed and recreated still has the old one, and etcd keeps the two clusters apart. The operator
        # is the same in every run from this state. A second clone with its own state has another operator.
        initial_cluster = pin(
            f"{name}-bootstrap",
            {
                # Those of a migration join a cluster that exists.
                "members": [] if "migration" in args else [machine["name"] for machine in args["members"]],
                "token": f"{plan.name}-{secrets.token_hex(4)}",
                "operator": new_operator(),
            },
            self,
        )
        operator = initial_cluster.output.apply(lambda known: known["operator"])
        # Pulumi records the inputs of a command after it has ended. A killed run leaves the old inputs in the state. If
        # the configuration is then reverted, Pulumi sees no difference, whatever happened on the machine. So each
        # change of the desired state has a new ID, recorded before any machine changes and passed to every member.
        # `machines` does the same for `prepare`: a killed run may have begun to retire a machine that is desired again.
        anew = pulumi.ResourceOptions(parent=self, replace_on_changes=["input"])
        restores, store = restores_of(plan.restore, args.get("previous")), credentials(args.get("backup"))
        texts = map(spec_text, [first, *list(specs.values())[1:]])
        change = pulumi.Stash(
            f"{name}-change",
            input=_with_secrets([*texts, plan.phase.replace(DONE, ""), *restores.numbers], store),
            opts=anew,
        )
        machines = pulumi.Stash(
            f"{name}-machines",
            input=_digest(
                *(json.dumps([each["name"], each["address"], each.get("firewall")]) for each in args["members"])
            ),
            opts=anew,
        )

        restore = (
            RestoreCommands(name, plan.restore, plan.name, self, args["restore"].get("identity", ""))
            if plan.restore and restores.declared
            else None
        )
        migration = _migration(name, args, plan, change.id, child)
        pki = EtcdPki(f"{name}-pki", _pki_args(args, migration, prometheus=plan.prometheus_certificate), child)
        clients = pki.clients.apply(lambda expiry: self._remembered(expiry, plan, args.get("previous")))
        members = [
            EtcdMember(
                f"{name}-{machine['name']}",
                {
                    "machine": machine,
                    "spec": specs[machine["name"]],
                    "files": pki.files(machine["name"]),
                    "issued": pki.issued(machine["name"]),
                    "clients": clients,
                    "operator": operator,
                    "after": [initial_cluster, *pki.authorities],
                    "change": change.id,
                    "machines": restore.each_run(machines.id) if restore else machines.id,
                    "headers": args.get("release_headers", {}),
                    "image_credentials": args.get("etcd_image_credentials", ""),
                    "store": store,
                    "put_right": verdict.state.put_right.get(machine["name"], ""),
                },
                child,
            )
            for machine in args["members"]
        ]
        # Two barriers and a chain. No member starts before every machine is prepared. No member waits for a quorum
        # before all initial members have started. After that, changes go through one member at a time.
        prepared = [member.prepared for member in members]
        refuse_partial_deletion(
            name, plan.name, args["members"][0], initial_cluster=initial_cluster, prepared=prepared, parent=self
        )
        # A cluster that was once proved healthy is never bootstrapped again. A later slot, even one with the name of an
        # initial member, must not bootstrap another cluster because no member answers it.
        new = args.get("previous") is None and migration is None and not restores.pending
        initial = initial_cluster.output if new else None
        begun = [member.bootstrap(initial, prepared) for member in members]
        done: list[pulumi.Resource] = [*begun, *(migration.ready(prepared) if migration else [])]
        named = {machine["name"]: member for machine, member in zip(args["members"], members, strict=True)}
        done += _restore(restore, named, done) if restore else []
        done = _converge(
            [(named[slot], with_users(specs[slot], plan)) for slot in verdict.chain],
            # Without `previous` it is unknown whether an update has succeeded, and those answers never change.
            _begin_together(list(named), initial if "previous" in args else None, begun),
            done,
        )
        health, healthy = members[0].health(
            f"{name}-health",
            first,
            changes={
                "applied": verdict.state.data(),
                "clients": clients,
                "members": {slot: member.changes for slot, member in named.items()},
            },
            after=done,
            parent=self,
        )

        # All outputs that a client needs wait for the health check. So nothing downstream starts on an unhealthy
        # cluster or gets certificates that some member does not accept yet.
        warned: pulumi.Output[None] = pulumi.Output.from_input(warn_if_not_exported(self, args.get("previous", {})))
        proof: pulumi.Output[bool] = pulumi.Output.from_input(proved_healthy(name, list(named), health))
        report = _after(pulumi.Output.all(warned, proof), healthy).apply(json.loads)
        # A phase of a migration is applied when the control planes have followed.
        followed = migration.finish(health, pki.ca_certificate, pki.apiserver_etcd_client) if migration else []
        self.endpoints = report.apply(lambda _: client_urls(plan))
        self.ca_certificate, self.peer_ca_certificate = (
            _after(report, each) for each in (pki.ca_certificate, pki.peer_ca_certificate)
        )
        self.apiserver_etcd_client = _after(report, pki.apiserver_etcd_client)
        self.users, self.prometheus_client = _after(report, pki.users), _after(report, pki.prometheus_client)
        self.kubeadm = self.endpoints.apply(lambda known: kubeadm.cluster_configuration(known, plan.kubernetes_version))
        self.kubeadm_files = pulumi.Output.secret(
            pulumi.Output.all(ca=self.ca_certificate, client=self.apiserver_etcd_client).apply(
                lambda parts: kubeadm.files(parts["ca"], parts["client"]["certificate"], parts["client"]["private_key"])
            )
        )
        self.members = report.apply(lambda found: _rows(found, plan))
        self.certificates, self.backup = (
            pki.certificates,
            report.apply(lambda found: _last_snapshot(found.get("backup"), found.get("drill"))),
        )
        self.etcdctl = self.endpoints.apply(_etcdctl)
        # From the inputs of the health check and not from the desired state: an update that skipped the check
        # (`--target`) has not applied that state.
        self.drift = _looked(verdict.state, named, health)
        measured = pulumi.Output.all(**{slot: member.measured for slot, member in named.items()})
        self.applied = pulumi.Output.all(
            health.stdin, report, self.drift, measured, *(each.stdout for each in followed)
        ).apply(lambda parts: _applied(parts[0], parts[1], parts[2], parts[3], _early_renewal_hours(args)))
        if plan.heartbeat_interval_ms == AUTO:
            self.applied.apply(lambda known: self._tell_timers(known, plan))
        self.register_outputs(
            {
                "endpoints": self.endpoints,
                "ca_certificate": self.ca_certificate,
                "peer_ca_certificate": self.peer_ca_certificate,
                "apiserver_etcd_client": self.apiserver_etcd_client,
                "users": self.users,
                **({"prometheus_client": self.prometheus_client} if plan.prometheus_certificate else {}),
                "kubeadm": self.kubeadm,
                "kubeadm_files": self.kubeadm_files,
                "members": self.members,
                "certificates": self.certificates,
                "etcdctl": self.etcdctl,
                "backup": self.backup,
                **({"drift": self.drift} if plan.drift_check else {}),
                "applied": self.applied,
            }
        )

    def _remembered(self, expiry: Mapping[str, str], plan: ClusterPlan, previous: Mapping[str, Any] | None) -> Any:
        """The client certificates that are accepted. Warns of those that must be replaced where clients have them."""
        before, now = (previous or {}).get(CLIENTS, {}), datetime.now(UTC)
        found = remembered(before, expiry, plan.issuer, [each.name for each in plan.authorities], now)
        for warning in replaced(found, now, [name for name in found if before.get(name, found[name]) != found[name]]):
            pulumi.log.warn(warning, self)
        return found

    def _tell_timers(self, applied: Mapping[str, Any], plan: ClusterPlan) -> None:
        """Warns if the round trips that were measured call for other timers than those of this update."""
        now, then = plan.derived or Timers(), _derived(applied, plan.members, {}) or Timers()
        if now != then:
            pulumi.log.warn(
                f"The measured round trips call for a heartbeat interval of {then.heartbeat_ms} ms and an election "
                f"timeout of {then.election_ms} ms. Members run with {now.heartbeat_ms} and {now.election_ms} ms. Run "
                "pulumi up again: it announces and makes the change.",
                self,
            )

    def _go_back(self, name: str, args: EtcdClusterArgs, plan: ClusterPlan) -> None:
        """The way back from a migration: no member is declared, so their machines are retired when they have left."""
        anew = pulumi.ResourceOptions(parent=self, replace_on_changes=["input"])
        change = pulumi.Stash(f"{name}-change", input=_digest(BACK), opts=anew)
        migration = _migration(name, args, plan, change.id, pulumi.ResourceOptions(parent=self))
        assert migration is not None  # noqa: S101  its phase has led here
        left = migration.go_back().stdout
        self.endpoints = left.apply(lambda _: [])
        self.ca_certificate = self.peer_ca_certificate = self.kubeadm = self.etcdctl = left.apply(lambda _: "")
        self.apiserver_etcd_client = left.apply(lambda _: {"certificate": "", "private_key": ""})
        self.members, self.prometheus_client = left.apply(lambda _: []), left.apply(lambda _: None)
        self.users, self.kubeadm_files, self.certificates, self.applied, self.backup, self.drift = (
            left.apply(lambda _: {}) for _ in range(6)
        )
        self.register_outputs({})


def check_cluster(name: str, args: EtcdClusterArgs, spelled: Spelled = str) -> None:
    """Raises what `EtcdCluster` with these arguments would raise, and declares nothing.

    A program with several clusters calls it for all of them first. Otherwise those that it declares before a refused
    one are updated all the same, unless a preview stops the update.

    Args:
        spelled: the user's name for an argument, where it is another one.
    """
    _checked(name, args, spelled)


def _checked(
    name: str, args: EtcdClusterArgs, spelled: Spelled = str
) -> tuple[EtcdClusterArgs, ClusterPlan, list[str], dict[str, Spec], Verdict]:
    """The arguments with their defaults, the plan, warnings, the members' specifications, and the guard's verdict."""
    args = with_peers(with_authorities(with_previous(args)))
    members = [_member_plan(each) for each in args["members"]]
    plan = cluster_plan(name, args, members, bundle.digest(), _generations(args["members"]))
    refuse(
        check_headers(args.get("release_headers", {}))
        + check_image_credentials(args.get("etcd_image_credentials"), plan.etcd_image)
    )
    placed = _check_against_the_last_update(plan, args)
    specs = member_specs(plan)
    override, acknowledge = args.get("override", ""), plan.acknowledge
    verdict = accept(args.get("previous"), _wanted(plan, args), override, spelled, acknowledge)
    return args, plan, placed, specs, verdict


def _check_against_the_last_update(plan: ClusterPlan, args: EtcdClusterArgs) -> list[str]:
    """Warnings about the data directories. Raises PlanError if one is not possible, nothing can be compared, or a
    snapshot must not be restored."""
    refuse(check_previous(args))
    if plan.restore is not None:
        refuse(check_snapshot(plan.restore, plan.name, plan.version))
    if plan.heartbeat_interval_ms == AUTO and "previous" not in args:
        rule = "Timers are derived from the round trips that earlier updates have measured"
        refuse([Problem("previous", "nothing", rule, "Pass what previous_update() reads")])
    if plan.migration and "previous" not in args:
        rule = "The phases of a migration follow each other, so each is compared with the last update"
        refuse([Problem("previous", "nothing", rule, "Pass what previous_update() reads")])
    previous = args.get("previous")
    directories = {member.name: member.data_directory for member in plan.members}
    misplaced, placed = check_data_directories(
        directories,
        directories_before(previous, directories),
        lambda index, _: f"members[{index}].data_directory",
        "If this member has its data there already, pass `previous`, so that it is only a warning",
    )
    refuse(misplaced)
    return placed


def _digest(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]


def _with_secrets(texts: Sequence[str], secret: Mapping[str, pulumi.Input[str]]) -> pulumi.Input[str]:
    """Text that differs whenever one of the texts or secrets does. It is secret if there are secrets."""
    if not secret:
        return _digest(*texts)
    known: pulumi.Output[str] = pulumi.Output.secret(pulumi.Output.json_dumps(dict(secret), sort_keys=True))
    return known.apply(lambda text: _digest(*texts, text))


def _after(proof: pulumi.Output[Any], value: pulumi.Output[_T]) -> pulumi.Output[_T]:
    """The value, once `proof` has resolved."""
    return pulumi.Output.all(proof, value).apply(lambda both: cast(_T, both[1]))


def _converge(
    members: Sequence[tuple[EtcdMember, Spec]], together: Awaitable[Any], after: Sequence[pulumi.Resource]
) -> list[pulumi.Resource]:
    """The commands that bring all members to their desired state, one after the other or together."""
    first, converged = after, list[pulumi.Resource]()
    known: pulumi.Output[Any] = pulumi.Output.from_input(together)
    for member, spec in members:
        command = member.converge(_either(known, first, after), spec)
        converged, after = [*converged, command], [command]
    return converged or [*first]


def _either(
    yes: pulumi.Output[bool], one: Sequence[pulumi.Resource], other: Sequence[pulumi.Resource]
) -> pulumi.Output[Sequence[pulumi.Resource]]:
    return yes.apply(lambda known: one if known else other)


async def _begin_together(
    members: Sequence[str], initial: pulumi.Output[Any] | None, bootstraps: Sequence[remote.Command]
) -> bool:
    """Whether these members, and no others, begin a new cluster: none can be ready before the others, and all start.

    The answers are in the state until an update succeeds, so this also holds when an interrupted one is repeated. A
    member that has begun by then is safe without the order, too: the machines let only one restart at a time.
    """
    pinned: Any = await initial.future() if initial is not None and await initial.is_known() else None
    if pinned is None or {*pinned["members"]} != {*members}:
        return False
    for each in bootstraps:
        if not await each.stdout.is_known() or MAY_BEGIN not in str(await each.stdout.future()):
            return False
    return True


def _restore(
    restore: RestoreCommands, members: Mapping[str, EtcdMember], after: Sequence[pulumi.Resource]
) -> list[pulumi.Resource]:
    """Three barriers: no member stops before every machine has the restored data, and none starts before all have
    stopped and have them in place."""
    staged = {}
    if restore.stages:
        first = list(members.values())[:1] if restore.finds else []
        there = [member.find(restore, after) for member in first]
        there += [] if restore.finds else [member.receive(restore, after) for member in members.values()]
        staged = {name: member.restore(restore, "stage", there) for name, member in members.items()}
    stages = {name: said for name, (_, said) in staged.items()}
    checked = [command for command, _ in staged.values()] or after
    placed = [member.restore(restore, "restore", checked, stages)[0] for member in members.values()]
    # One after the other: before etcd answers its peers, it asks them whether their data are the same. Members that
    # start together wait for each other, for 7 s per peer; a peer that has not been started refuses at once.
    started: list[pulumi.Resource] = [*placed]
    for member in members.values():
        started = [*started, member.restore(restore, "start", started)[0]]
    return started[len(placed) :]


def _looked(wanted: State, members: Mapping[str, EtcdMember], health: pulumi.Resource) -> pulumi.Output[Any]:
    """Member -> what others have changed on its machine; empty if the machines are not asked."""
    if not wanted.drift_check:
        return pulumi.Output.from_input({})
    asked = {name: f"{wanted.drift_check} {wanted.put_right.get(name, '')}" for name in members}
    return pulumi.Output.all(**{name: member.drift(asked[name], [health]) for name, member in members.items()})


def _migration(
    name: str, args: EtcdClusterArgs, plan: ClusterPlan, change: pulumi.Output[str], opts: pulumi.ResourceOptions
) -> EtcdMigration | None:
    """The control planes of a migration, if there is one."""
    if "migration" not in args:
        return None
    return EtcdMigration(
        f"{name}-migration",
        {
            "migration": args["migration"],
            "cluster_name": plan.name,
            "members": {member.name: member.address for member in plan.members},
            "flags": next(iter(member_specs(plan).values()))["flags"],
            "change": change,
            "complete": (args.get("previous") or {}).get("migration") == plan.phase,
        },
        opts,
    )


def with_previous(args: EtcdClusterArgs) -> EtcdClusterArgs:
    """The arguments, with `previous` from the stack's output that `previous_output` names."""
    key = "previous" if "previous" in args else "previous_output"
    if key not in args:
        return args
    found = args["previous"] if "previous" in args else read_output(args["previous_output"])
    if found and not (isinstance(found, Mapping) and "format" in found):
        value = "another value" if "previous" in args else shown(args["previous_output"])
        rule = "The last update must be compared by the output `applied` of this cluster, and this is another output"
        refuse([Problem(key, value, rule, "Export `applied`, and use that output")])
    return {**args, "previous": found}


def with_authorities(args: EtcdClusterArgs) -> EtcdClusterArgs:
    """The arguments, with `authorities` where their default is the CA of a migration."""
    if "migration" not in args or "authorities" in args:
        return args
    return {**args, "authorities": [{"name": AUTHORITY}]}


def _plans(args: EtcdClusterArgs, authorities: Sequence[Authority]) -> list[AuthorityPlan]:
    """The authorities without their certificates; that of a migration has them, in the end."""
    migrated = AuthorityPlan(AUTHORITY, certificate=True, private_key=True)
    return [migrated if "migration" in args and each == {"name": AUTHORITY} else plan_of(each) for each in authorities]


def with_peers(args: EtcdClusterArgs) -> EtcdClusterArgs:
    """The arguments, with `peer_authorities` where its default is a separate CA; that depends on `previous`."""
    plans = _plans(args, authorities_of(args.get("authorities")))
    # Without `previous` it is unknown whether the cluster exists.
    if "peer_authorities" in args or "previous" not in args or not peers_have_their_own(args["previous"], plans):
        return args
    return {**args, "peer_authorities": [{"name": DEFAULT_PEER_AUTHORITY}]}


def cluster_plan(
    name: str,
    args: EtcdClusterArgs,
    members: Sequence[MemberPlan],
    program: str = "",
    generations: Mapping[str, int] | None = None,
) -> ClusterPlan:
    """The cluster that the arguments describe, with all defaults.

    Args:
        name: name of the component, the default name of the cluster.
        args: the arguments; their `members` are ignored.
        members: the members, in order.
        program: digest of etcd-node; empty if unknown.
        generations: slot -> generation of its machine. Default: none, as of existing machines.
    """
    authorities, peers = authorities_of(args.get("authorities")), args.get("peer_authorities")
    given = _whole_numbers({key: value for key, value in args.items() if key in _PLANNED})
    given |= {
        "name": args.get("cluster_name", name),
        "members": members,
        "program": program,
        "authorities": _plans(args, authorities),
        "issuer": args.get("issuer", authorities[0]["name"] if authorities else ""),
        "peer_authorities": None if peers is None else [plan_of(each) for each in peers],
        "migration": plan_of_migration(args.get("migration")),
        "backup": plan_of_backup(args.get("backup")),
        "restore": plan_of_restore(args.get("restore"), args),
        "peer_issuer": args.get("peer_issuer", peers[0]["name"] if peers else ""),
        "maintenance": MaintenancePlan(**_whole_numbers(args.get("maintenance", {}))),
        "users": [UserPlan(each["name"], each["prefix"], each["permission"]) for each in args.get("users", [])],
    }
    if args.get("heartbeat_interval_ms") == AUTO:
        given["derived"] = _derived(args.get("previous"), members, generations or {})
    return ClusterPlan(**given)


def _derived(
    previous: Mapping[str, Any] | None, members: Sequence[MemberPlan], generations: Mapping[str, int]
) -> Timers | None:
    """With `auto`: the timers after this update; None if there was none."""
    state = read_state(previous)
    if state is None or previous is None:
        return None
    now = Timers(state.heartbeat_ms, state.election_ms)
    names = [member.name for member in members]
    raised = any(generation > state.generations.get(name, generation) for name, generation in generations.items())
    if state.migration not in ("", DONE) or raised or {*names} != {*state.members}:
        return now  # an update that changes machines or members, or a phase of a migration, restarts no other member
    return derived(now, measurements(previous), names)


def _whole_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Other languages pass numbers as floats."""
    return {key: int(value) if isinstance(value, float) else value for key, value in values.items()}


def _generations(machines: Sequence[Machine]) -> dict[str, int]:
    """Slot -> generation, of machines that have one."""
    return {each["name"]: int(each["generation"]) for each in machines if "generation" in each}


def _member_plan(machine: Machine) -> MemberPlan:
    directory = machine.get("data_directory", DEFAULT_DATA_DIRECTORY)
    return MemberPlan(machine["name"], machine["address"], directory, machine.get("extra_names", []))


def _wanted(plan: ClusterPlan, args: EtcdClusterArgs) -> State:
    """The desired state for the guard, without values that are known only during the update."""
    authorities = [*args.get("peer_authorities", ()), *authorities_of(args.get("authorities"))]
    certificates = {each["name"]: each.get("certificate", "") for each in authorities}
    identities = {}
    for machine in args["members"]:
        # A reinstalled machine has another host key.
        parts = [machine.get("identity", ""), machine["ssh"]["host_key"]]
        if all(isinstance(part, str) for part in parts):
            identities[machine["name"]] = " ".join(str(part) for part in parts)
    return wanted_state(
        plan,
        generations=_generations(args["members"]),
        identities=identities,
        certificates={name: text for name, text in certificates.items() if isinstance(text, str)},
        on_volumes=all("data_device" in each for each in args["members"]),
        origins={each["name"]: each["origin"] for each in args["members"] if "origin" in each},
        put_right=put_right(args.get("previous"), [each["name"] for each in args["members"]]),
    )


def _rows(report: Mapping[str, Any], plan: ClusterPlan) -> list[dict[str, Any]]:
    addresses = {member.name: member.address for member in plan.members}
    # An earlier version of this program may have made the last check.
    return [
        {
            "address": addresses[row["name"]],
            **{key: row[key] for key in ("name", "endpoint", "id", "version")},
            "database_bytes": row["db_size_bytes"],
            "in_use_bytes": row.get("db_in_use_bytes", row["db_size_bytes"]),
        }
        for row in report["members"]
        if row["name"] in addresses
    ]


def _applied(
    asked: str, report: dict[str, Any], drift: Mapping[str, Any], measured: Mapping[str, Any], early_renewal_hours: int
) -> dict[str, Any]:
    sizes = [int(row["db_size_bytes"]) for row in report["members"]]
    changes = json.loads(asked)["changes"]
    return {
        **changes["applied"],
        # An earlier version of this program may have made the last check.
        CLIENTS: changes.get("clients", {}),
        "database_bytes": max(sizes),
        **_with_times({CHECKED: report[CHECKED]} if CHECKED in report else {}),
        EARLY_RENEWAL: early_renewal_hours,
        **({DRIFT: drift} if drift else {}),
        MEASURED: {name: found for name, found in measured.items() if found},
    }


def _early_renewal_hours(args: EtcdClusterArgs) -> int:
    return int(args.get("certificates", {}).get("early_renewal_hours", EARLY_RENEWAL_HOURS))


def _last_snapshot(found: Mapping[str, Any] | None, drill: Mapping[str, Any] | None) -> dict[str, Any]:
    rows = {kind: _with_times(row) for kind, row in (drill or {}).items()}
    return {**_with_times(found), **({"drill": rows} if rows else {})} if found else {}


def _with_times(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its times as RFC 3339 has them."""
    times = {key: datetime.fromtimestamp(row[key], UTC) for key in ("taken", "at", CHECKED) if key in row}
    return {**row, **{key: f"{time:%Y-%m-%dT%H:%M:%SZ}" for key, time in times.items()}}


def _pki_args(args: EtcdClusterArgs, migration: EtcdMigration | None, *, prometheus: bool) -> EtcdPkiArgs:
    if migration is not None:
        given = authorities_of(args.get("authorities"))
        args = {**args, "authorities": [migration.authority if each == {"name": AUTHORITY} else each for each in given]}
    pki: EtcdPkiArgs = {
        "members": [
            {"name": each["name"], "address": each["address"], "extra_names": each.get("extra_names", [])}
            for each in args["members"]
        ],
        "users": [user["name"] for user in args.get("users", [])],
        "prometheus": prometheus,
    }
    same = ("authorities", "issuer", "peer_authorities", "peer_issuer", "extra_names")
    more = {**args.get("certificates", {}), **{name: each for name, each in args.items() if name in same}}
    return cast(EtcdPkiArgs, {**pki, **more})


def _etcdctl(endpoints: list[str]) -> str:
    return (
        f"etcdctl --endpoints={','.join(endpoints)} --cacert={PKI_DIRECTORY}/ca.crt "
        f"--cert={PKI_DIRECTORY}/healthcheck-client.crt --key={PKI_DIRECTORY}/healthcheck-client.key "
        "endpoint status --write-out=table"
    )

"""A cluster with its machines on a cloud, in one component: what the components of all clouds have in common.

Such a component takes plain data only, so that other languages can use it, too. It declares what a program would
declare that puts the parts together: network, key, bastion, machines and `EtcdCluster`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

import pulumi

from .cluster import (
    EtcdCluster,
    EtcdClusterArgs,
    EtcdOutputs,
    EtcdSettings,
    check_cluster,
    cluster_plan,
    with_authorities,
    with_peers,
    with_previous,
)
from .first_boot import OperatorArgs
from .machine import Bastion, Login, Machine, login
from .machine_types import Seller, check_types
from .plan import ClusterPlan, MemberPlan, Problem, check_plan
from .plan.cloud import BASTION, DEFAULT_USER, CloudPlan, WantedType
from .plan.cloud_arguments import where_given
from .plan.data_directories import check_data_directories, check_directory
from .plan.errors import refuse
from .plan.flags import DEFAULT_QUOTA
from .plan.generations import check_generations
from .plan.guard.rules import Spelled
from .plan.guard.state import directories_before, read_state
from .plan.sizes import parse_bytes
from .plan.spec import DEFAULT_DATA_DIRECTORY
from .plan.ssh import check_public_key, check_way
from .slots import CloudMachines, CloudMachinesArgs
from .ssh_key import CloudKey


class OperatorSsh(Login):
    """The operator's login on the created machines."""

    public_key: NotRequired[pulumi.Input[str]]
    """Public half of your own key, one line. Default: a key is created, which exists only in the state."""
    user: NotRequired[str]
    """The login, which the first boot creates, with password-less sudo. Default: `etcd-operator`."""
    bastion: NotRequired[Bastion]
    """An existing host through which machines are reached. Default: none."""


class CloudClusterSlot(TypedDict):
    """One slot of the cluster and its desired machine."""

    name: str
    """Name of the slot and its member, a DNS label; the machine is `<cluster>-<slot>`. It must not change during the
    life of the slot."""
    address: NotRequired[str]
    """Private address in its subnet. It must not change during the life of the slot. Default: the subnet's tenth plus
    the number at the end of the name."""
    extra_names: NotRequired[list[str]]
    """More DNS names and IP addresses in its certificates. Default: none."""
    generation: NotRequired[int]
    """Raise it to replace the machine by one with the current image, type and user data. One slot per update. Default:
    1."""


class CloudClusterArgs(EtcdSettings, TypedDict):
    """Arguments of a cluster with its machines, on every cloud."""

    clients: NotRequired[list[str]]
    """Ranges that can reach port 2379, besides the members. Default: none. On AWS, a security group can, too."""
    metrics_clients: NotRequired[list[str]]
    """Ranges that can reach ports 2381 and 2382, if `metrics` is `private`. Default: only the members."""
    open_to_the_world: NotRequired[bool]
    """Must be true if ranges contain the whole internet. Default: false."""
    public_ipv4: NotRequired[bool]
    """Whether machines have a public IPv4 address. Default: true."""
    architecture: NotRequired[str]
    """Architecture of the image, `amd64` or `arm64`; machine types must match. Default: that of the image's name, else
    of the type."""
    ssh: NotRequired[OperatorSsh]
    """The operator's login. Default: with a created key, directly or through a created bastion."""
    data_directory: NotRequired[str]
    """Directory of etcd's data. Default: `/var/lib/etcd`."""


class CreatedBastion(TypedDict):
    """A created bastion, as a user of ssh needs it."""

    host: str
    """Its public address."""
    host_key: str
    """Its public host key, one line."""
    user: str
    """The login."""


@dataclass(frozen=True)
class Parts:
    """The parts below the cluster."""

    machines: CloudMachines
    operator: OperatorArgs
    bastion: Bastion | None
    """The host through which machines are reached, created or existing; None: directly."""


class CloudEtcdCluster(EtcdOutputs):
    """A cluster with its machines."""

    server_ids: pulumi.Output[dict[str, str]]
    """Slot -> ID of its machine."""
    hosts: pulumi.Output[dict[str, str]]
    """Slot -> address at which the operator (or the bastion) reaches its machine."""
    bastion: pulumi.Output[CreatedBastion | None]
    """The created bastion. None: there is none."""
    ssh_private_key: pulumi.Output[str | None]
    """Private key of the operator, if it was created, OpenSSH format (secret)."""

    def __init__(self, type_: str, name: str, opts: pulumi.ResourceOptions | None) -> None:
        super().__init__(f"external-etcd:index:{type_}", name, None, opts)

    def _fill(
        self,
        name: str,
        args: CloudClusterArgs,
        parts: Parts,
        *,
        bastion: bool,
        more: Mapping[str, pulumi.Input[Any]],
        applied: Mapping[str, Any] | None = None,
    ) -> None:
        """Declares the cluster on its machines, and sets and registers all outputs.

        Args:
            args: from `complete`.
            bastion: whether the bastion was created here.
            more: the outputs that only this cloud has.
            applied: what the next update is compared with besides what `EtcdCluster` applied.
        """
        cluster = EtcdCluster(
            name, {**settings(args), "members": parts.machines.machines}, pulumi.ResourceOptions(parent=self)
        )
        found = {output: getattr(cluster, output) for output in EtcdOutputs.__annotations__}
        more_applied = {**(applied or {}), **({BASTION: True} if bastion else {})}
        if more_applied:
            found["applied"] = cluster.applied.apply(lambda known: {**known, **more_applied} if known else known)
        way, user = parts.bastion, args.get("ssh", {}).get("user", DEFAULT_USER)
        created = None
        if bastion and way is not None:
            created = {"host": way["host"], "host_key": way["host_key"], "user": user}
        key = None if "public_key" in args.get("ssh", {}) else parts.operator.get("private_key")
        found |= {
            "server_ids": parts.machines.server_ids,
            "hosts": parts.machines.hosts,
            "bastion": pulumi.Output.from_input(created),
            "ssh_private_key": pulumi.Output.from_input(key),
            **{output: pulumi.Output.from_input(value) for output, value in more.items()},
        }
        for output, value in found.items():
            setattr(self, output, value)
        self.register_outputs(found)


def settings(args: CloudClusterArgs) -> EtcdClusterArgs:
    """The arguments of the cluster itself, without `members`."""
    return cast(EtcdClusterArgs, {name: value for name, value in args.items() if name in EtcdSettings.__annotations__})


def generations_before(args: EtcdSettings) -> dict[str, int]:
    """Slot -> generation in the last update, for a program that cannot read the rest of what that left.

    Empty if the guard has compared them, which may have been overridden.
    """
    previous = args.get("previous") or {}
    return _generations(previous) if read_state(previous) is None else {}


def _generations(previous: Mapping[str, Any]) -> dict[str, int]:
    """Slot -> generation in the last update, whatever else that left."""
    found = previous.get("generations")
    return {slot: int(number) for slot, number in found.items()} if isinstance(found, Mapping) else {}


def check_args(
    name: str,
    args: CloudClusterArgs,
    plan: CloudPlan,
    problems: Sequence[Problem],
    *,
    shared: Sequence[str],
    platform: str,
) -> ClusterPlan:
    """The cluster that an update will make. Raises PlanError with every reason why it cannot.

    Args:
        name: name of the component.
        args: its arguments, from `complete`.
        plan: their plan.
        problems: those of the plan.
        shared: names of arguments that are the defaults of slots and bastion.
        platform: name of the cloud.
    """
    spelled, found = spelling(platform), where_given(problems, args, shared)
    found += _check_ssh(args.get("ssh", {}))
    directory = args.get("data_directory", DEFAULT_DATA_DIRECTORY)
    wrong = check_directory(directory, "data_directory")
    place = DEFAULT_DATA_DIRECTORY if wrong else directory
    addresses = plan.addresses
    members = [
        MemberPlan(slot.name, addresses.get(slot.name, ""), place, tuple(slot.extra_names)) for slot in plan.slots
    ]
    cluster = with_peers(with_authorities(settings(args)))
    known = {each.key for each in found}
    # A slot that has no address because of another problem has none of its own.
    nowhere = {f"slots[{index}].address" for index, each in enumerate(members) if found and not each.address}
    found += wrong
    generations = {slot.name: slot.generation for slot in plan.slots}
    desired = cluster_plan(name, cluster, members, generations=generations)
    refuse(found + [each for each in check_plan(desired, spelled) if each.key not in known | nowhere])
    directories = {each.name: each.data_directory for each in members}
    before = directories_before(args.get("previous"), directories)
    refuse(check_data_directories(directories, before, lambda *_: "data_directory")[0])
    check_cluster(name, {**cluster, "members": _desired(plan, members)}, spelled)
    refuse(check_generations(generations_before(args), generations))
    return desired


def check_offer(args: CloudClusterArgs, plan: CloudPlan, wanted: Sequence[WantedType], seller: Seller) -> None:
    """Raises PlanError if the cloud does not sell the machines that the update will create, or with too little memory.

    Without the last update it is not known which these are. Then nothing is asked.

    Args:
        args: from `complete`.
        wanted: the machine types.
        seller: the cloud.
    """
    if "previous" not in args:
        return
    previous = args["previous"] or {}
    state, before = read_state(previous), _generations(previous)
    generations = {slot.name: slot.generation for slot in plan.slots}

    def new(each: WantedType) -> bool:
        return before.get(each.slot) != generations[each.slot] if each.slot else BASTION not in previous

    quota = args.get("quota", DEFAULT_QUOTA)
    raised = state is None or parse_bytes(quota) > state.quota_bytes
    refuse(check_types(wanted, new, seller, quota, raised=raised))


def asked(opts: pulumi.ResourceOptions | None, package: str) -> pulumi.InvokeOptions:
    """With which a component with these options asks its provider of a package before it is declared itself."""
    if opts is None:
        return pulumi.InvokeOptions()
    several = opts.providers or {}
    listed = several if isinstance(several, Mapping) else {each.package: each for each in several}
    own = opts.provider if opts.provider is not None and opts.provider.package == package else listed.get(package)
    return pulumi.InvokeOptions(parent=opts.parent, provider=own)


def spelling(platform: str) -> Spelled:
    """Maps an argument of `EtcdCluster`, or a key of a cloud's platform, to the argument of the cloud's component."""
    return lambda name: "slots" if name == "members" else name.removeprefix(f"{platform}.")


def _check_ssh(ssh: OperatorSsh) -> list[Problem]:
    key, problems = ssh.get("public_key"), check_way(ssh, "ssh")
    if key is None:
        rule = "Created machines need the public half of the operator's own key"
        remedy = "Set it to one line like ssh-ed25519 AAAA..., or remove the private key: one is created"
        given = [each for each in ("private_key", "private_key_password") if each in ssh]
        return problems + ([Problem("ssh.public_key", "nothing", rule, remedy)] if given else [])
    # What comes from a resource is not known yet.
    return problems + (check_public_key(key, "ssh.public_key") if isinstance(key, str) else [])


def _desired(plan: CloudPlan, members: Sequence[MemberPlan]) -> list[Machine]:
    """The machines as far as the plan knows them, for the guard."""
    later = pulumi.Output.from_input("")
    generations = {slot.name: slot.generation for slot in plan.slots}
    device = {"data_device": later} if plan.on_volumes else {}
    return [
        cast(
            Machine,
            {
                "name": each.name,
                "address": each.address,
                "ssh": {"host": later, "host_key": later},
                "generation": generations[each.name],
                "data_directory": each.data_directory,
                "extra_names": [*each.extra_names],
                "origin": dict(plan.origins[each.name]),
                **device,
            },
        )
        for each in members
    ]


def complete(name: str, args: Any) -> Any:
    """The arguments of the component `name`, with `cluster_name` and `previous`."""
    return {"cluster_name": name, **with_previous(args)}


def operator_args(ssh: OperatorSsh, make: Callable[[], CloudKey]) -> OperatorArgs:
    """The operator, with their own key or with one created by `make`."""
    user = ssh.get("user", DEFAULT_USER)
    if "public_key" in ssh:
        key = login(ssh.get("private_key"), ssh.get("private_key_password"))
        return {**key, "public_key": ssh["public_key"], "user": user}
    made = make()
    return {**login(made.private_key, None), "public_key": made.public_key, "user": user}


def machines_args(
    args: Mapping[str, Any], plan: CloudPlan, operator: OperatorArgs, bastion: Bastion | None, before: Mapping[str, int]
) -> CloudMachinesArgs:
    """The arguments of machines that all clouds have.

    Args:
        operator: the operator's login.
        bastion: the bastion through which machines are reached, if any.
        before: slot -> generation in the last update.
    """
    found: CloudMachinesArgs = {
        **operator,  # type: ignore[typeddict-item]  # what is optional is set below
        "cluster_name": plan.cluster,
        "public_ipv4": plan.public_ipv4,
        "data_directory": args.get("data_directory", DEFAULT_DATA_DIRECTORY),
        "previous_generations": {**before},
    }
    if bastion is not None:
        found["bastion"] = bastion
    return found

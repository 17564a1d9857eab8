"""The slots of a cluster on any cloud, and the machines in them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_tls as tls

from .first_boot import FOR_ROOT, OperatorArgs, operator_ssh, template
from .irreplaceable import attachment_refusal, irreplaceable, volume_refusal
from .machine import Bastion, CloudMachine, Machine
from .pinned_values import generation_name, pinned
from .plan import cloud_init
from .plan.errors import PlanError, Problem, refuse
from .plan.generations import check_generations
from .plan.spec import DEFAULT_DATA_DIRECTORY
from .replacement_gate import gates
from .ssh_key import ssh_key
from .wait_for_ssh import wait_for_ssh


class RunningMachineError(PlanError, pulumi.RunError):
    """The change would not fit a machine as it was created. Pulumi prints it without a stack trace."""


class CloudSlot(TypedDict):
    """One slot of the cluster and its desired machine."""

    name: str
    """Name of the slot, a DNS label; the machine is `<cluster>-<slot>`. It must not change during the life of the
    slot."""
    address: str
    """Private address in its subnet. It must not change during the life of the slot."""
    extra_names: NotRequired[list[str]]
    """More DNS names and IP addresses in its certificates. Default: none."""
    generation: NotRequired[int]
    """Raise it to replace the machine by one with the current image, type and user data. Default: 1."""


class CloudMachinesArgs(OperatorArgs):
    """Arguments of the machines on every cloud."""

    cluster_name: str
    """Name of the cluster: part of all names, and the tag or label `cluster`."""
    public_ipv4: NotRequired[bool]
    """Whether machines have a public IPv4 address. Default: true."""
    bastion: NotRequired[Bastion]
    """Host through which machines are reached at their private addresses. Default: none."""
    data_directory: NotRequired[str]
    """Directory of etcd's data. Default: `/var/lib/etcd`."""
    previous_generations: NotRequired[dict[str, int]]
    """Slot -> generation in the last successful update. Raising more than one is refused. Default: not compared."""


class CloudMachines(pulumi.ComponentResource):
    """One machine per slot: what the components of all clouds have in common.

    Children per slot: `<name>-<slot>` (PrivateKey of its host key), `<name>-<slot>-generation-<n>` and
    `<name>-<slot>-generation-<n>-first-boot` (Stash), `<name>-<slot>-ssh` (a command that waits for its first boot)
    and `<name>-<slot>-gate` (a command whose deletion asks the next slot's member whether the cluster tolerates the
    loss of the machine).
    """

    machines: list[Machine]
    """`members` of `EtcdCluster`."""
    server_ids: pulumi.Output[dict[str, str]]
    """Slot -> ID of the machine."""
    hosts: pulumi.Output[dict[str, str]]
    """Slot -> address at which the operator (or the bastion) reaches it."""
    generations: dict[str, int]
    """Slot -> generation: `previous_generations` of the next update."""

    def __init__(
        self,
        type_: str,
        name: str,
        args: CloudMachinesArgs,
        slots: Sequence[CloudSlot],
        opts: pulumi.ResourceOptions | None,
        *,
        server_input: str | None = None,
    ) -> None:
        """`server_input`: the input of the cloud's volume attachment that names the server. Default: no volumes."""
        super().__init__(f"external-etcd:index:{type_}", name, None, opts)
        self.generations = {slot["name"]: _generation(slot) for slot in slots}
        self._name, self._common = name, args
        self._host_keys: dict[str, tls.PrivateKey] = {}
        self._volumes = irreplaceable(f"{name}-volumes-in-use", volume_refusal)
        self._attachments = irreplaceable(f"{name}-attachments-in-use", attachment_refusal, unless=server_input)
        self._filled: list[CloudMachine] = []
        # Slot -> the server, and what cannot be replaced without it.
        self._carriers: dict[str, list[pulumi.CustomResource]] = {}

    def _check(self, problems: Iterable[Problem], *, public: bool) -> None:
        """Raises PlanError with these problems and those common to all clouds. `public`: machines have public IPs."""
        found = [*check_generations(self._common.get("previous_generations", {}), self.generations), *problems]
        if not public and "bastion" not in self._common:
            rule = "Machines without a public address must be reached through a bastion"
            found.append(Problem("bastion", "nothing", rule, "Set bastion, or give the machines a public address"))
        refuse(found)

    def _child(self, slot: CloudSlot) -> str:
        """Name of the resources of a slot."""
        return f"{self._name}-{slot['name']}"

    def _host_key(self, slot: CloudSlot) -> tls.PrivateKey:
        """The host key of a slot; it outlives the slot's machines."""
        made = ssh_key(self._child(slot), f"the host key of {slot['name']}", self)
        self._host_keys[slot["name"]] = made
        return made

    def _kept(
        self, slot: CloudSlot, wanted: Mapping[str, Any], units: Mapping[str, str] = FOR_ROOT
    ) -> tuple[pulumi.Output[Any], pulumi.Output[Any]]:
        """The properties and the first boot of the slot's machine, as they were when its generation began.

        Each generation has its own Stash, which takes the values desired at that time.
        """
        stash = generation_name(self._child(slot), _generation(slot))
        first_boot = template(self._common, units, _generation(slot))
        # Separate, because the operator's key is unknown before the first update and would hide the rest in a preview.
        return pinned(stash, wanted, self), pinned(f"{stash}-first-boot", first_boot, self)

    def _volume_options(self, protect: bool, ignore_changes: list[str]) -> pulumi.ResourceOptions:
        """Options of a slot's volume.

        Args:
            protect: whether Pulumi refuses to delete it.
            ignore_changes: properties whose change would replace it, and delete the data.
        """
        return pulumi.ResourceOptions(
            parent=self,
            # So that the old volume stays when the hook refuses a new one.
            delete_before_replace=False,
            hooks=pulumi.ResourceHookBinding(before_create=[self._volumes]),
            protect=protect,
            ignore_changes=ignore_changes,
        )

    def _attachment_options(self, server: pulumi.CustomResource, *, retain: bool = False) -> pulumi.ResourceOptions:
        """Options of the attachment of a slot's volume, which is never detached from a running machine.

        Args:
            server: the machine's resource; its deletion detaches the volume after the shutdown.
            retain: Pulumi does not detach it either when it replaces the machine.
        """
        return pulumi.ResourceOptions(
            parent=self,
            delete_before_replace=False,
            deleted_with=server,
            retain_on_delete=retain or None,
            hooks=pulumi.ResourceHookBinding(before_create=[self._attachments]),
        )

    def _fill(
        self,
        slot: CloudSlot,
        server: pulumi.CustomResource,
        host: pulumi.Input[str],
        origin: dict[str, str],
        carriers: Sequence[pulumi.CustomResource] = (),
    ) -> CloudMachine:
        """The machine in a slot.

        Args:
            slot: the slot; its host key must exist.
            host: its public address; unused with a bastion.
            origin: as in `Machine`.
            carriers: resources whose replacement also takes the machine away.
        """
        args, name = self._common, slot["name"]
        if "bastion" in args:
            host = slot["address"]
        ssh = operator_ssh(args, host, self._host_keys[name])
        # The program creates this login, and the image must serve sftp.
        ssh["sftp"] = True
        if "bastion" in args:
            ssh["bastion"] = args["bastion"]
        ssh["host"] = wait_for_ssh(f"{self._child(slot)}-ssh", {**ssh}, host, server, self)
        machine: CloudMachine = {
            "name": name,
            "address": slot["address"],
            "ssh": ssh,
            "identity": server.id,
            "generation": _generation(slot),
            "data_directory": args.get("data_directory", DEFAULT_DATA_DIRECTORY),
            "extra_names": list(slot.get("extra_names", [])),
            "origin": origin,
            "root_only": list(cloud_init.METADATA),
            "server": server,
        }
        self._filled.append(machine)
        self._carriers[name] = [server, *carriers]
        return machine

    def _close(self, ground: Sequence[pulumi.CustomResource]) -> None:
        """Adds the gates and registers the outputs.

        Args:
            ground: resources that all machines depend on: the network.
        """
        self.machines = [*self._filled]
        gone_with = {slot: [*carriers, *ground] for slot, carriers in self._carriers.items()}
        gates(self._name, self.machines, gone_with, self._host_keys, self)
        self.server_ids = pulumi.Output.all(**{each["name"]: each["identity"] for each in self._filled})
        self.hosts = pulumi.Output.all(**{each["name"]: each["ssh"]["host"] for each in self._filled})
        self.register_outputs({"server_ids": self.server_ids, "hosts": self.hosts, "generations": self.generations})


def _generation(slot: CloudSlot) -> int:
    # Other languages pass numbers as floats.
    return int(slot.get("generation", 1))

"""EtcdMigration: what a migration from stacked etcd does on the control planes."""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi_command import remote

from . import bundle
from .machine import Ssh
from .machine_commands import MachineCommands
from .node.shared.paths import ANSWERED, WRAPPER
from .pinned_values import pin
from .pki import Authority, ClientCertificate
from .plan.members import CLIENT_PORT, PEER_PORT
from .plan.migration import AUTHORITY, BACK, DONE, JOIN, LEAVE, MigrationPlan
from .remote_command import answer
from .upload import taking


class ControlPlane(TypedDict):
    """A control plane that kubeadm has set up with stacked etcd."""

    name: str
    """Name of its node, which is that of its etcd member."""
    address: str
    """Private IP address of the node, at which the other members reach its etcd."""
    ssh: Ssh
    """How the operator reaches the machine."""


class Migration(TypedDict):
    """The migration of a stacked kubeadm cluster."""

    phase: str
    """`join`, then `switch`, `leave` and `done`, one update each. `back` is the way back from `join`."""
    control_planes: NotRequired[list[ControlPlane]]
    """All control planes of the cluster, in the order in which their API servers are switched; the CA is read from the
    first. Only one that is lost for good can be removed. Default: none, which is possible in the phase `done`."""


class EtcdMigrationArgs(TypedDict):
    """Arguments of `EtcdMigration`."""

    migration: Migration
    """The control planes, and the phase."""
    cluster_name: str
    """Name of the cluster."""
    members: Mapping[str, str]
    """The members that stay: name -> private address."""
    flags: Mapping[str, str]
    """Flags of these members, name with dashes -> value: the stacked ones must not need others."""
    change: pulumi.Input[str]
    """ID of the change that led to this phase; the control planes are inspected again for every one."""
    complete: bool
    """Whether the last update has completed this phase."""


class EtcdMigration(pulumi.ComponentResource):
    """The control planes in a migration. `EtcdCluster` creates it, and the members' part of the migration itself.

    Children: the Stashes `<name>-authority` (the stacked CA) and in `leave` `<name>-run`, and until the last phase
    `<name>-<control plane>-sftp`, `<name>-<control plane>-program`, `<name>-<control plane>-inspect` (its deletion
    removes the program), `<name>-<control plane>-joined` (its deletion is refused while the stacked members need ours),
    `<name>-<control plane>-api-server`, `<name>-<control plane>-etcd`, and for the first one
    `<name>-<control plane>-authority` and `<name>-<control plane>-configure`.
    """

    authority: Authority
    """The CA of the stacked cluster; not on the way back."""

    def __init__(self, name: str, args: EtcdMigrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:EtcdMigration", name, None, opts)
        self._name, self._args = name, args
        self._phase = args["migration"]["phase"]
        planes = args["migration"].get("control_planes", []) if self._phase != DONE else []
        self._planes = {each["name"]: each for each in planes}
        self._commands = {
            each["name"]: MachineCommands(f"{name}-{each['name']}", each["name"], each["ssh"], self) for each in planes
        }
        run = self._run() if self._phase == LEAVE else ""
        self._inspected = [self._inspect(each, run) for each in planes]
        if self._phase != BACK:
            self.authority = self._authority()

    def ready(self, members: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        """What must have succeeded before any member changes.

        With it go commands, one for each control plane: it must reach all members before the first joins. Their
        deletion fails while the stacked members need these for their quorum.

        Args:
            members: the commands whose deletion retires the machines of members.
        """
        after = [*self._inspected, *members]
        joined = [
            self._commands[name].command(
                "joined",
                create=self._line(plane, "reach", str(WRAPPER)),
                # Later, a closed port must not be in the way of going back.
                update="true",
                stdin="",
                delete=self._line(plane, "stand-alone", str(WRAPPER)),
                after=after,
            )
            for name, plane in self._planes.items()
        ]
        return [*self._inspected, *joined]

    def finish(
        self,
        health: remote.Command,
        ca_certificate: pulumi.Output[str],
        client: pulumi.Output[Any],
    ) -> list[remote.Command]:
        """Adds what follows when all members are healthy, one control plane at a time; returns what ends the phase.

        Args:
            health: proves that the members are healthy.
            ca_certificate: certificates of the CAs that API servers must trust, PEM.
            client: a `ClientCertificate` for API servers.
        """
        done = [health]
        change = self._args["change"]
        files: pulumi.Output[str] = pulumi.Output.secret(
            pulumi.Output.all(ca=ca_certificate, client=client, change=change).apply(_files)
        )
        for plane in self._planes.values():
            verb = "switch-back" if self._phase == JOIN else "switch"
            # With the ID of the change, because an interrupted one may have done what this one undoes.
            stdin = change if verb == "switch-back" else files
            done = [health, self._command(plane, "api-server", verb, stdin, done)]
        if self._phase == LEAVE:
            for plane in self._planes.values():
                done = [health, self._command(plane, "etcd", "leave", change, done)]
            first = next(iter(self._planes.values()))
            done = [self._command(first, "configure", "configure", change, done)]
        self.register_outputs({})
        return done

    def go_back(self) -> remote.Command:
        """Removes the members from the stacked cluster, when its API servers do not use them."""
        done: list[remote.Command] = []
        for plane in self._planes.values():
            after = [*self._inspected, *done]
            done = [self._command(plane, "api-server", "switch-back", self._args["change"], after)]
        first = next(iter(self._planes.values()))
        removed = self._command(first, "back", "back", self._args["change"], done)
        self.register_outputs({})
        return removed

    def _run(self) -> pulumi.Output[str]:
        """A text that differs in every run until `leave` is complete.

        A repeated one has the change ID of the interrupted one, and an API server may have been changed since.
        """
        kept = ["input"] if self._args["complete"] else None
        opts = pulumi.ResourceOptions(parent=self, replace_on_changes=["input"], ignore_changes=kept)
        return pulumi.Stash(f"{self._name}-run", input=secrets.token_hex(4), opts=opts).id

    def _inspect(self, plane: ControlPlane, run: pulumi.Input[str]) -> remote.Command:
        """Installs the program, and checks whether the migration is possible."""
        commands = self._commands[plane["name"]]
        change = self._args["change"]
        program, uploads = commands.program("", "")
        find = ("sh", "-c", bundle.FIND, plane["name"], "-c", bundle.RECEIVER, bundle.sha256(), plane["name"])
        remove = f'[ -x {WRAPPER} ] || exit {ANSWERED}; exec {WRAPPER} --answer retire-plane "$@"'
        found = commands.command(
            "inspect",
            create=taking(self._line(plane, "inspect", *find)),
            stdin=pulumi.Output.secret(pulumi.Output.concat(program, "\n", change, run)),
            delete=commands.asked("retire-plane", "sh", "-c", remove, "retire-plane", self._plan(plane)),
            after=uploads,
        )
        answer(found, plane["name"])
        return found

    def _authority(self) -> Authority:
        kept: pulumi.Input[Any] = ""
        if self._planes:
            first = next(iter(self._planes.values()))
            line = self._line(first, "authority", str(WRAPPER))
            # Once: kubeadm may remove it afterwards.
            read = self._commands[first["name"]].command(
                "authority",
                create=line,
                stdin="",
                after=self._inspected,
                ignore_changes=["connection", "create", "stdin", "logging"],
                secret=True,
            )
            kept = pulumi.Output.secret(answer(read, first["name"]))
        known = pulumi.Output.secret(pin(f"{self._name}-authority", kept, self).output)
        parts = known.apply(lambda text: json.loads(str(text)))
        return {
            "name": AUTHORITY,
            "certificate": parts.apply(lambda found: str(found["certificate"])),
            "private_key": parts.apply(lambda found: str(found["private_key"])),
        }

    def _command(
        self,
        plane: ControlPlane,
        suffix: str,
        verb: str,
        stdin: pulumi.Input[str],
        after: Sequence[pulumi.Resource],
    ) -> remote.Command:
        commands = self._commands[plane["name"]]
        made = commands.command(suffix, create=self._line(plane, verb, str(WRAPPER)), stdin=stdin, after=after)
        answer(made, plane["name"])
        return made

    def _line(self, plane: ControlPlane, verb: str, *program: str) -> str:
        return self._commands[plane["name"]].asked(verb, *program, "--answer", verb, self._plan(plane, verb))

    def _plan(self, plane: ControlPlane, verb: str = "") -> str:
        """The argument of a verb: one setting per line for a preview. Only `inspect` knows the phase and the flags."""
        plan = {
            "format": 1,
            "cluster": self._args["cluster_name"],
            "plane": plane["name"],
            "planes": {name: each["address"] for name, each in self._planes.items()},
            "members": {**self._args["members"]},
            "client_port": CLIENT_PORT,
            "peer_port": PEER_PORT,
            "phase": self._phase if verb == "inspect" else "",
            "flags": {**self._args["flags"]} if verb == "inspect" else {},
            "program": bundle.digest(),
        }
        return json.dumps(plan, indent=2)


def plan_of_migration(migration: Migration | None) -> MigrationPlan | None:
    """The migration for the plan; None without one."""
    if migration is None:
        return None
    planes = [(each["name"], each["address"]) for each in migration.get("control_planes", [])]
    return MigrationPlan(migration["phase"], planes)


def _files(parts: dict[str, Any]) -> str:
    client: ClientCertificate = parts["client"]
    files = {"ca.crt": parts["ca"], "client.crt": client["certificate"], "client.key": client["private_key"]}
    return json.dumps({"files": files, "change": parts["change"]}, sort_keys=True)

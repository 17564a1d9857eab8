"""EtcdMember: the remote commands of one machine."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi_command import remote

from . import bundle, upload
from .dependencies import without_dependencies
from .irreplaceable import irreplaceable
from .machine import Machine, lives_on
from .machine_commands import MachineCommands
from .node.shared.paths import ANSWERED, WRAPPER
from .plan import Spec, bootstrap_spec, spec_text
from .plan.flag_values import files_read
from .remote_command import answer
from .restore import RestoreCommands

_NOT_FOR_PREPARE = ("trusted", "issuer", "peer_trusted", "peer_issuer", "maintenance", "auto_timers", "textfile")


class EtcdMemberArgs(TypedDict):
    """Arguments of `EtcdMember`."""

    machine: Machine
    """The slot and the machine in it."""
    spec: Spec
    """The desired state of this member, from `plan.member_specs`."""
    files: pulumi.Input[Mapping[str, str]]
    """File name -> PEM of the member's certificates and keys (secret)."""
    issued: Sequence[pulumi.Resource]
    """The certificates in `files`."""
    clients: pulumi.Input[Mapping[str, Any]]
    """When the certificates of clients expire, from `plan.client_certificates`; `etcd-node status` shows it."""
    operator: pulumi.Input[Mapping[str, str]]
    """The operator: `id`, and `by` for messages. The same in every run from the same state."""
    after: Sequence[pulumi.Resource]
    """Resources deleted only after the machine is retired: if that fails, the CA must not be lost."""
    change: pulumi.Input[str]
    """ID of the change that led to this desired state. Every change has a new one, even a reverted change."""
    machines: pulumi.Input[str]
    """ID of the last change of the member list and the firewalls, for which every machine is prepared again."""
    put_right: NotRequired[str]
    """What others have changed on the machine, from `plan.drift`: it is prepared and converged again. Default:
    nothing."""
    headers: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Headers for the release mirror, name -> value (secret). Default: none."""
    image_credentials: NotRequired[pulumi.Input[str]]
    """`USER:PASSWORD` for the registry of etcd's image (secret). Default: none."""
    store: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Credentials of the store for snapshots, in rclone's names (secret). Default: none."""


class EtcdMember(pulumi.ComponentResource):
    """One member: `prepare` affects no running member, `bootstrap` permits a new cluster, `converge` does the rest.

    They are separate because their order spans members. All machines are prepared before the first etcd starts, all
    initial members reach each other before that, and changes go through one member at a time. `EtcdCluster` creates
    them in this order.

    Children: `<name>-sftp` (asks whether sftp works, unless the machine's `ssh` says it), `<name>-program` (etcd-node,
    copied to the machine, if sftp works), `<name>-prepare` (its deletion retires the machine), `<name>-bootstrap`,
    `<name>-converge`, `<name>-drift` (only with `drift_check`).
    """

    prepared: remote.Command
    """The command that checks the machine and installs the release. Running members are not affected."""
    measured: pulumi.Output[dict[str, Any]]
    """What `converge` says of disk and links, as in `plan.applied.MEASURED`."""

    def __init__(self, name: str, args: EtcdMemberArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:EtcdMember", name, None, opts)
        self._spec = args["spec"]
        self._operator, self._issued = args["operator"], args["issued"]
        machine = args["machine"]
        self._machine = machine
        self._host_key = pulumi.Output.from_input(machine["ssh"]["host_key"])
        # Nothing is cleaned up on a machine that is deleted.
        self._commands = MachineCommands(name, machine["name"], machine["ssh"], self, lives_on(machine))
        anew = irreplaceable(f"{name}-in-use", lambda resource: _refusal(machine["name"], resource))
        # The identity is passed with the keys, not in the command text. It is unknown while a machine is being replaced
        # and would hide all other changes in the preview.
        identity = machine.get("identity", "")
        headers, store = {**args.get("headers", {})}, {**args.get("store", {})}
        closed: dict[str, Any] = {"headers": headers} if headers else {}
        if (credentials := args.get("image_credentials", "")) != "":
            closed["image_credentials"] = credentials
        # The last line of stdin, if there are any.
        told: list[pulumi.Input[str]] = ["\n", pulumi.Output.json_dumps(closed, sort_keys=True)] if closed else []
        program, uploads = self._commands.program(identity, args["machines"])
        # If it contains etcd-node, that is no secret. But previews then show [secret] instead of pages of base64.
        again = f" {args['put_right']}" if args.get("put_right") else ""
        told = [program, "\n", identity, "\n", args["machines"], again, *told]
        text: pulumi.Output[str] = pulumi.Output.secret(pulumi.Output.concat(*told))
        stdin: pulumi.Output[str] = without_dependencies(text)
        if lives_on(machine) is None:
            # The way to a user's own machine may not name the machine, which must exist until it is retired.
            stdin = pulumi.Output.all(identity, stdin).apply(lambda both: str(both[1]))
        self.prepared = self._commands.command(
            "prepare",
            create=self._prepare_line(machine),
            stdin=stdin,
            delete=without_dependencies(self._retire()),
            after=uploads.apply(lambda found: [*args["after"], *found]),
            anew=anew,
        )
        prepared = answer(self.prepared, machine["name"])
        prepared.apply(self._pass_on_warnings)
        self._text: pulumi.Output[str] = pulumi.Output.secret(
            pulumi.Output.json_dumps(
                {
                    "identity": identity,
                    "files": args["files"],
                    "clients": args["clients"],
                    "operator": args["operator"],
                    "change": args["change"],
                    # Contains the time of the preparation. If a killed run prepared the machine for another state, the
                    # member is converged again, even if its desired state is the old one.
                    "prepared": prepared,
                    **({"headers": headers} if headers else {}),
                    **({"store": store} if store else {}),
                },
                sort_keys=True,
            )
        )
        self._bundle = self._text.apply(lambda text: bundle.packed(text.encode()))

    def bootstrap(self, initial_cluster: pulumi.Output[Any] | None, after: Sequence[pulumi.Resource]) -> remote.Command:
        """Permits this member to begin if it is an initial one of a new cluster. Runs once in the slot's life.

        Args:
            initial_cluster: `members`, the names of the initial members, and the cluster's `token`. None: the cluster
                exists, so the command of a new slot does nothing.
            after: what must have succeeded before: `prepare` of every machine.
        """
        create: pulumi.Input[str] = "true"
        if initial_cluster is not None:
            create = initial_cluster.apply(
                lambda known: self._line("bootstrap", bootstrap_spec(self._spec, known["members"], known["token"]))
            )
        # No later change may bootstrap again, so every input is frozen after success.
        return self._commands.command(
            "bootstrap",
            create=create,
            after=after,
            ignore_changes=["connection", "create", "stdin", "logging"],
            later=True,
        )

    def receive(self, restore: RestoreCommands, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """Copies the snapshot of a restore to the machine."""
        return restore.receive(self._machine, self._commands, after)

    def find(self, restore: RestoreCommands, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """Finds the snapshot of a restore in the store, from this machine."""
        return restore.find(self._machine, self._commands, spec=self._spec, bundle=self._text, after=after)

    def restore(
        self,
        restore: RestoreCommands,
        suffix: str,
        after: Sequence[pulumi.Resource],
        stages: Mapping[str, pulumi.Output[str]] | None = None,
    ) -> tuple[remote.Command, pulumi.Output[str]]:
        """One step of a restore, and its answer; see `RestoreCommands.command`."""
        return restore.command(
            self._machine,
            self._commands,
            suffix,
            spec=self._spec,
            bundle=self._text,
            after=after,
            stages=stages,
        )

    def converge(self, after: pulumi.Output[Sequence[pulumi.Resource]], spec: Spec | None = None) -> remote.Command:
        """Brings this member to its desired state. Refuses a step that would lose the quorum.

        Args:
            after: what must have succeeded before: every bootstrap, or the previous member in the chain.
            spec: this member's, with the users of the cluster, so that a name conflict is found before any restart.
                Default: without users.
        """
        line = self._line("converge", spec or self._spec)
        waits = after.apply(lambda known: [*known, *self._issued])
        command = self._commands.command("converge", create=line, stdin=self._bundle, after=waits, later=True)
        # Older programs answer nothing.
        self.measured = answer(command, self._machine["name"]).apply(
            lambda text: json.loads(text) if text.startswith("{") else {}
        )
        self.register_outputs({})
        return command

    def health(
        self,
        name: str,
        spec: Spec,
        changes: Mapping[str, Any],
        after: Sequence[pulumi.Resource],
        parent: pulumi.Resource,
    ) -> tuple[remote.Command, pulumi.Output[str]]:
        """Checks every member from this machine. The answer is a JSON object, described in `etcd-node health`.

        Args:
            spec: this member's, with the users of the cluster.
            changes: differs whenever any member's desired state does, so that the check runs again. The output `stdin`
                has it under `changes`, as it was at the last check.
            after: what must have succeeded before: the last `converge` in the chain.
        """
        asked = pulumi.Output.json_dumps({"changes": dict(changes), "operator": self._operator}, sort_keys=True)
        stdin: pulumi.Output[str] = without_dependencies(asked)
        command = remote.Command(
            name,
            connection=without_dependencies(self._commands.connection),
            create=self._line("health", {**spec, "flags": {}}),
            stdin=stdin,
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after), hooks=self._commands.hooks),
        )
        return command, answer(command, self._machine["name"])

    def drift(self, asked: str, after: Sequence[pulumi.Resource]) -> pulumi.Output[list[str]]:
        """Asks the machine what others have changed there; changes nothing. One line each.

        Args:
            asked: the machine is asked again whenever this differs.
            after: what must have succeeded before: the health check.
        """
        line = self._commands.asked("drift", str(WRAPPER), "--answer", "drift", "--json")
        command = self._commands.command("drift", create=line, stdin=asked, after=after, later=True)
        return answer(command, self._machine["name"]).apply(json.loads)

    @property
    def changes(self) -> pulumi.Output[str]:
        """Text that differs whenever this member's desired state or its machine does. It contains no secret."""
        return pulumi.Output.unsecret(
            # The host key too: a reinstalled machine joins with another member ID, which the outputs contain.
            pulumi.Output.all(self._bundle, self._host_key).apply(
                lambda parts: hashlib.sha256("".join([spec_text(self._spec), *parts]).encode()).hexdigest()[:12]
            )
        )

    def _prepare_line(self, machine: Machine) -> pulumi.Input[str]:
        """The command line of `prepare`, with the part of the spec that it needs. A changed flag or CA is no reason to
        prepare again. A changed list of members is: the machine serves the other members and may filter others."""
        kept = {key: value for key, value in self._spec.items() if key not in _NOT_FOR_PREPARE}
        everybody = self._spec["members"]
        # The order of the members matters only to converge.
        spec: Spec = {**kept, "members": {name: everybody[name] for name in sorted(everybody)}, "flags": {}}
        if reads := files_read(self._spec["flags"]):
            spec["reads"] = reads
        if "firewall" in machine:
            spec["firewall"] = machine["firewall"]
        if "root_only" in machine:
            spec = {**spec, "root_only": machine["root_only"]}
        # Any Python that the machine has: its wrapper is missing, or belongs to another version of etcd-node.
        name = machine["name"]
        program = ("sh", "-c", bundle.FIND, name, "-c", bundle.RECEIVER, bundle.sha256(), name)

        def line(spec: Spec) -> str:
            return upload.taking(self._line("prepare", spec, *program))

        device = machine.get("data_device")
        if device is None:
            return line(spec)
        return pulumi.Output.from_input(device).apply(lambda path: line({**spec, "data_device": path}))

    def _pass_on_warnings(self, said: str) -> None:
        """Repeats warnings of `prepare` at the end of every run, because the output of commands scrolls by."""
        for line in said.splitlines():
            _, mark, warning = line.partition("warning: ")
            if mark:
                pulumi.log.warn(f"{self._machine['name']}, when it was prepared: {warning}", resource=self)

    def _line(self, verb: str, spec: Spec, *program: str) -> str:
        return self._commands.asked(verb, *(program or (str(WRAPPER),)), "--answer", verb, spec_text(spec))

    def _retire(self) -> pulumi.Output[str]:
        def line(operator: Mapping[str, str]) -> str:
            # A machine whose first run failed early was never prepared: it has no etcd-node and nothing to remove.
            script = f'[ -x {WRAPPER} ] || exit {ANSWERED}; exec {WRAPPER} --answer retire "$@"'
            whose = (str(self._spec["cluster"]), operator["id"], self._machine["name"])
            return self._commands.asked("retire", "sh", "-c", script, "retire", *whose)

        return pulumi.Output.from_input(self._operator).apply(line)


def _refusal(member: str, resource: str) -> str:
    return (
        f"{resource} must not be replaced: the deletion of the old one would retire the machine of {member}, a cluster "
        f"member. No machine was touched. If {member} has another machine or disk, change its `identity`. After any "
        "other change, `pulumi up` prepares it again by itself."
    )

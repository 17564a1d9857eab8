"""EtcdMember: the few remote commands of one machine."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pulumi
from pulumi_command import remote

from . import reach
from .machine import Machine, connection, lives_on
from .node import bundle
from .plan import Spec, spec_text, with_founding

_ETCD_NODE = "/usr/local/sbin/etcd-node"

# Upper bounds in seconds on what runs on the machine. etcd-node keeps its own deadlines and says what it was
# doing; these are the net below it, because pulumi-command never gives up on a command that hangs. Converge takes a
# snapshot before the version changes, of up to 8 GiB.
_TIMEOUTS = {"prepare": 420, "found": 240, "converge": 3600, "health": 240, "retire": 240}


class EtcdMemberArgs(TypedDict):
    """Arguments of `EtcdMember`."""

    machine: Machine
    """The slot and the machine in it."""
    spec: Spec
    """The wanted state of this member, as `plan.member_specs` makes it."""
    files: pulumi.Input[Mapping[str, str]]
    """File name -> PEM of the member's certificates and keys (secret)."""
    operator: pulumi.Input[Mapping[str, str]]
    """Whose runs these are: `id`, and `by` for people. The same in every run from the same state."""
    after: Sequence[pulumi.Resource]
    """What is deleted only when the machine has been retired: a deletion that fails there must not lose the CA."""
    change: pulumi.Input[str]
    """Of which change of the cluster this wanted state is; another one after every change, also after one undone."""
    machines: pulumi.Input[str]
    """The same of who the members are and who may reach them: what machines are prepared for beside their own."""


class EtcdMember(pulumi.ComponentResource):
    """One member: `prepare` disturbs no member, `found` starts a cluster that never was, `converge` does all the rest.

    The three are separate because their order crosses members: all machines are prepared before the first etcd
    starts, founders start together, and later changes go through the members one after another. `EtcdCluster`
    makes them in that order.

    Children: `<name>-prepare` (its deletion retires the machine), `<name>-found`, `<name>-converge`.
    """

    prepared: remote.Command
    """The command that checks the machine and installs the release; no member that runs notices."""

    def __init__(self, name: str, args: EtcdMemberArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:EtcdMember", name, None, opts)
        self._name = name
        self._spec = args["spec"]
        self._operator = args["operator"]
        machine = args["machine"]
        self._sudo = "" if machine["ssh"].get("user", "root") == "root" else "sudo -n "
        self._connection = connection(machine["ssh"])
        self._host_key = pulumi.Output.from_input(machine["ssh"]["host_key"])
        # A machine that goes takes everything on it along; nobody dials it to clean it up.
        self._server = lives_on(machine)
        reachable = reach.hook(f"{name}-reachable", machine["name"], machine["ssh"])
        # Not before deletions: those must work without the program that defines the hook.
        self._hooks = pulumi.ResourceHookBinding(before_create=[reachable], before_update=[reachable])
        # The identity travels beside the keys, not in the readable text: it is unknown while a machine is being
        # replaced, and would hide every other change in the preview.
        identity = machine.get("identity", "")
        self.prepared = self._command(
            "prepare",
            create=self._prepare_line(machine),
            # The program is no secret. Marked as one, previews show it as [secret] and not as pages of base64.
            stdin=pulumi.Output.secret(pulumi.Output.concat(bundle.program(), "\n", identity, "\n", args["machines"])),
            delete=self._retire(),
            after=args["after"],
        )
        self._bundle: pulumi.Output[str] = pulumi.Output.secret(
            pulumi.Output.json_dumps(
                {
                    "identity": identity,
                    "files": args["files"],
                    "operator": args["operator"],
                    "change": args["change"],
                    # Says when that was: what a run that was killed has done to a machine that was prepared for
                    # something else is looked at again, also when this member is then to be what it was.
                    "prepared": self.prepared.stdout,
                },
                sort_keys=True,
            )
        )

    def found(self, founding: pulumi.Output[Any], after: Sequence[pulumi.Resource]) -> remote.Command:
        """Starts this member if it is a founder and the cluster never existed; runs once in the slot's life.

        Args:
            founding: `members`, the names of those with whom the cluster is (or was) founded, and its `token`.
            after: what must have succeeded before: every machine prepared.
        """
        create = founding.apply(
            lambda known: self._line("found", with_founding(self._spec, known["members"], known["token"]))
        )
        # Nothing that changes later may run the founding again, so every input is frozen when it has succeeded.
        return self._command(
            "found",
            create=create,
            stdin=self._bundle,
            after=after,
            ignore_changes=["connection", "create", "stdin"],
        )

    def converge(self, after: Sequence[pulumi.Resource]) -> remote.Command:
        """Brings this member to its wanted state; refuses a step that would cost the quorum.

        Args:
            after: what must have succeeded before: the founding, and the member before this one in the chain.
        """
        command = self._command("converge", create=self._line("converge", self._spec), stdin=self._bundle, after=after)
        self.register_outputs({})
        return command

    def health(
        self,
        name: str,
        spec: Spec,
        changes: Mapping[str, Any],
        after: Sequence[pulumi.Resource],
        parent: pulumi.Resource,
    ) -> remote.Command:
        """Asks every member, from this machine; stdout is one JSON object, as `etcd-node health` describes it.

        Args:
            name: name of the resource.
            spec: this member's, with the users of the cluster.
            changes: what differs whenever any member's wanted state does, so that health is asked again; its output
                `stdin` has it under `changes`, as it was when health was asked.
            after: what must have succeeded before: every member converged.
            parent: the cluster.
        """
        return remote.Command(
            name,
            connection=self._connection,
            create=self._line("health", {**spec, "flags": {}}),
            stdin=pulumi.Output.json_dumps({"changes": dict(changes), "operator": self._operator}, sort_keys=True),
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after), hooks=self._hooks),
        )

    @property
    def changes(self) -> pulumi.Output[str]:
        """Text that differs whenever this member's wanted state or its machine does; holds nothing secret."""
        return pulumi.Output.unsecret(
            # The host key too: a machine that was installed anew joins under another ID, which the outputs name.
            pulumi.Output.all(self._bundle, self._host_key).apply(
                lambda parts: hashlib.sha256("".join([spec_text(self._spec), *parts]).encode()).hexdigest()[:12]
            )
        )

    def _prepare_line(self, machine: Machine) -> pulumi.Input[str]:
        """What prepare reads of the spec; a changed flag or CA is no reason to prepare again, a changed list of members
        only where the machine filters who reaches it: those who leave it are let in until they have left."""
        kept = {key: value for key, value in self._spec.items() if key not in ("trusted", "issuer")}
        spec: Spec = {**kept, "members": {machine["name"]: machine["address"]}, "flags": {}}
        if "firewall" in machine:
            everybody = self._spec["members"]
            # Their order is for converge.
            spec = {**spec, "members": {name: everybody[name] for name in sorted(everybody)}}
            spec["firewall"] = machine["firewall"]
        program = f"python3 -c {shlex.quote(bundle.INSTALLER)}"
        device = machine.get("data_device")
        if device is None:
            return self._line("prepare", spec, program)
        return pulumi.Output.from_input(device).apply(
            lambda path: self._line("prepare", {**spec, "data_device": path}, program)
        )

    def _line(self, verb: str, spec: Spec, program: str = _ETCD_NODE) -> str:
        return f"{self._sudo}timeout --kill-after=10 {_TIMEOUTS[verb]} {program} {verb} {shlex.quote(spec_text(spec))}"

    def _retire(self) -> pulumi.Output[str]:
        def line(operator: Mapping[str, str]) -> str:
            whose = f"{shlex.quote(str(self._spec['cluster']))} {shlex.quote(operator['id'])}"
            # A machine that was never prepared (its first run failed early) has no etcd-node and nothing to take away.
            script = f"if [ -x {_ETCD_NODE} ]; then exec {_ETCD_NODE} retire {whose}; fi"
            return f"{self._sudo}timeout --kill-after=10 {_TIMEOUTS['retire']} sh -c {shlex.quote(script)}"

        return pulumi.Output.from_input(self._operator).apply(line)

    def _command(
        self,
        suffix: str,
        *,
        create: pulumi.Input[str],
        stdin: pulumi.Input[str],
        delete: pulumi.Input[str] | None = None,
        after: Sequence[pulumi.Resource] = (),
        ignore_changes: list[str] | None = None,
    ) -> remote.Command:
        return remote.Command(
            f"{self._name}-{suffix}",
            connection=self._connection,
            create=create,
            delete=delete,
            stdin=stdin,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(after),
                ignore_changes=ignore_changes,
                hooks=self._hooks,
                deleted_with=self._server,
            ),
        )

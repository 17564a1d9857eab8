"""EtcdMember: the few remote commands of one machine."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi_command import remote

from . import bundle, ssh_diagnosis, upload
from .answers import answer, asked
from .irreplaceable import irreplaceable
from .machine import Machine, connection, lives_on
from .node.shared.paths import ANSWERED
from .plan import Spec, spec_text, with_initial_cluster
from .plan.flag_values import files_read

_ETCD_NODE = "/usr/local/sbin/etcd-node"
_CAS = ("trusted", "issuer", "peer_trusted", "peer_issuer")

# Upper bounds in seconds on what runs on the machine. etcd-node keeps its own deadlines and says what it was
# doing; these are the net below it, because pulumi-command never gives up on a command that hangs. Converge takes a
# snapshot before the version changes, of up to 8 GiB.
_TIMEOUTS = {"prepare": 420, "bootstrap": 240, "converge": 3600, "health": 240, "retire": 240}


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
    headers: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Headers that the release mirror wants, name -> value (secret). Default: none."""


class EtcdMember(pulumi.ComponentResource):
    """One member: `prepare` disturbs no member, `bootstrap` starts a cluster that never was, `converge` does the rest.

    The three are separate because their order crosses members: all machines are prepared before the first etcd
    starts, initial members start together, and later changes go through the members one after another. `EtcdCluster`
    makes them in that order.

    Children: `<name>-program` (etcd-node, copied to the machine), `<name>-prepare` (its deletion retires the machine),
    `<name>-bootstrap`, `<name>-converge`.
    """

    prepared: remote.Command
    """The command that checks the machine and installs the release; no member that runs notices."""

    def __init__(self, name: str, args: EtcdMemberArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:EtcdMember", name, None, opts)
        self._name = name
        self._spec = args["spec"]
        self._operator = args["operator"]
        machine = args["machine"]
        self._machine = machine
        self._connection = connection(machine["ssh"])
        self._host_key = pulumi.Output.from_input(machine["ssh"]["host_key"])
        # A machine that goes takes everything on it along; nobody dials it to clean it up.
        self._server = lives_on(machine)
        self._hooks = ssh_diagnosis.hooks(f"{name}-way", machine["name"])
        anew = irreplaceable(f"{name}-in-use", lambda resource: _refusal(machine["name"], resource))
        # The identity travels beside the keys, not in the readable text: it is unknown while a machine is being
        # replaced, and would hide every other change in the preview.
        identity = machine.get("identity", "")
        headers = {**args.get("headers", {})}
        # Its last line, where there are any.
        told: list[pulumi.Input[str]] = []
        if headers:
            told = ["\n", pulumi.Output.json_dumps({"headers": headers}, sort_keys=True)]
        program, uploads = self._program(identity, args["machines"])
        self.prepared = self._command(
            "prepare",
            create=self._prepare_line(machine),
            # Where it has the program, that is no secret. Marked as one, previews show it as [secret] and not as pages
            # of base64.
            stdin=pulumi.Output.secret(pulumi.Output.concat(program, "\n", identity, "\n", args["machines"], *told)),
            delete=self._retire(),
            after=[*args["after"], *uploads],
            anew=anew,
        )
        prepared = answer(self.prepared, machine["name"])
        prepared.apply(self._pass_on_warnings)
        self._bundle: pulumi.Output[str] = pulumi.Output.secret(
            pulumi.Output.json_dumps(
                {
                    "identity": identity,
                    "files": args["files"],
                    "operator": args["operator"],
                    "change": args["change"],
                    # Says when that was: what a run that was killed has done to a machine that was prepared for
                    # something else is looked at again, also when this member is then to be what it was.
                    "prepared": prepared,
                    **({"headers": headers} if headers else {}),
                },
                sort_keys=True,
            )
        )

    def bootstrap(self, initial_cluster: pulumi.Output[Any], after: Sequence[pulumi.Resource]) -> remote.Command:
        """Starts this member if it is an initial one and the cluster never existed; runs once in the slot's life.

        Args:
            initial_cluster: `members`, the names of those with which the cluster is bootstrapped, and its `token`.
            after: what must have succeeded before: every machine prepared.
        """
        create = initial_cluster.apply(
            lambda known: self._line("bootstrap", with_initial_cluster(self._spec, known["members"], known["token"]))
        )
        # Nothing that changes later may bootstrap again, so every input is frozen when it has succeeded.
        return self._command(
            "bootstrap",
            create=create,
            stdin=self._bundle,
            after=after,
            ignore_changes=["connection", "create", "stdin", "logging"],
        )

    def converge(self, after: Sequence[pulumi.Resource], spec: Spec | None = None) -> remote.Command:
        """Brings this member to its wanted state; refuses a step that would cost the quorum.

        Args:
            after: what must have succeeded before: the bootstrap, and the member before this one in the chain.
            spec: this member's, with the users of the cluster, so that a name that is taken is found before anything
                restarts. Default: without users.
        """
        line = self._line("converge", spec or self._spec)
        command = self._command("converge", create=line, stdin=self._bundle, after=after)
        # Nobody reads it, but without one nothing has been done.
        answer(command, self._machine["name"])
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
        """Asks every member, from this machine; the answer is one JSON object, as `etcd-node health` describes it.

        Args:
            name: name of the resource.
            spec: this member's, with the users of the cluster.
            changes: what differs whenever any member's wanted state does, so that health is asked again; its output
                `stdin` has it under `changes`, as it was when health was asked.
            after: what must have succeeded before: every member converged.
            parent: the cluster.
        """
        command = remote.Command(
            name,
            connection=self._connection,
            create=self._line("health", {**spec, "flags": {}}),
            stdin=pulumi.Output.json_dumps({"changes": dict(changes), "operator": self._operator}, sort_keys=True),
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after), hooks=self._hooks),
        )
        return command, answer(command, self._machine["name"])

    @property
    def changes(self) -> pulumi.Output[str]:
        """Text that differs whenever this member's wanted state or its machine does; holds nothing secret."""
        return pulumi.Output.unsecret(
            # The host key too: a machine that was installed anew joins under another ID, which the outputs name.
            pulumi.Output.all(self._bundle, self._host_key).apply(
                lambda parts: hashlib.sha256("".join([spec_text(self._spec), *parts]).encode()).hexdigest()[:12]
            )
        )

    def _program(self, *parts: pulumi.Input[str]) -> tuple[pulumi.Input[str], list[pulumi.Resource]]:
        """What stdin of `prepare` begins with to have the program, and what must have been copied before.

        Args:
            parts: what differs when the machine may have lost it.
        """
        ssh = self._machine["ssh"]
        if not ssh.get("sftp", True):
            return bundle.program(), []
        path = upload.place(ssh, *parts)
        hooks = copy.copy(self._hooks)
        hooks.on_error = [upload.hook(f"{self._name}-upload", self._machine["name"])]
        copied = remote.CopyToRemote(
            f"{self._name}-program",
            connection=self._connection,
            source=pulumi.FileAsset(str(bundle.file())),
            remote_path=path,
            opts=pulumi.ResourceOptions(parent=self, hooks=hooks, deleted_with=self._server),
        )
        return pulumi.Output.concat(path, "\n"), [copied]

    def _prepare_line(self, machine: Machine) -> pulumi.Input[str]:
        """What prepare reads of the spec; a changed flag or CA is no reason to prepare again, a changed list of members
        is: a machine answers the other members, and may filter who reaches it."""
        kept = {key: value for key, value in self._spec.items() if key not in _CAS}
        everybody = self._spec["members"]
        # Their order is for converge.
        spec: Spec = {**kept, "members": {name: everybody[name] for name in sorted(everybody)}, "flags": {}}
        if reads := files_read(self._spec["flags"]):
            spec["reads"] = reads
        if "firewall" in machine:
            spec["firewall"] = machine["firewall"]
        if "root_only" in machine:
            spec = {**spec, "root_only": machine["root_only"]}
        # Whatever Python the machine has; the wrapper is not there yet, or is that of another release of the program.
        name = machine["name"]
        program = ("sh", "-c", bundle.FIND, name, "-c", bundle.RECEIVER, bundle.sha256(), name)

        def line(spec: Spec) -> str:
            text = self._line("prepare", spec, *program)
            return upload.taking(text) if machine["ssh"].get("sftp", True) else text

        device = machine.get("data_device")
        if device is None:
            return line(spec)
        return pulumi.Output.from_input(device).apply(lambda path: line({**spec, "data_device": path}))

    def _pass_on_warnings(self, said: str) -> None:
        """Output of commands scrolls by; what `prepare` warns of is shown at the end, until it is prepared again."""
        for line in said.splitlines():
            _, mark, warning = line.partition("warning: ")
            if mark:
                pulumi.log.warn(f"{self._machine['name']}, when it was prepared: {warning}", resource=self)

    def _line(self, verb: str, spec: Spec, *program: str) -> str:
        return self._asked(verb, *(program or (_ETCD_NODE,)), "--answer", verb, spec_text(spec))

    def _asked(self, verb: str, *words: str) -> str:
        return asked(self._machine["ssh"], self._machine["name"], _TIMEOUTS[verb], *words)

    def _retire(self) -> pulumi.Output[str]:
        def line(operator: Mapping[str, str]) -> str:
            # A machine that was never prepared (its first run failed early) has no etcd-node and nothing to take away.
            script = f'[ -x {_ETCD_NODE} ] || exit {ANSWERED}; exec {_ETCD_NODE} --answer retire "$@"'
            return self._asked("retire", "sh", "-c", script, "retire", str(self._spec["cluster"]), operator["id"])

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
        anew: pulumi.ResourceHook | None = None,
    ) -> remote.Command:
        hooks = copy.copy(self._hooks)
        if anew is not None:
            # Refused before anybody looks at the way.
            hooks.before_create = [anew, *(hooks.before_create or [])]
        return remote.Command(
            f"{self._name}-{suffix}",
            connection=self._connection,
            create=create,
            delete=delete,
            stdin=stdin,
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(after),
                ignore_changes=ignore_changes,
                hooks=hooks,
                deleted_with=self._server,
            ),
        )


def _refusal(member: str, resource: str) -> str:
    return (
        f"{resource} is not replaced, because the deletion of the old one would retire the machine of {member}, on "
        f"which the cluster counts; no machine was touched. Where {member} has another machine or disk, change its "
        "`identity`; a `pulumi up` after any change prepares it again by itself."
    )

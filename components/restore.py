"""A restore: the snapshot goes to all machines, and the members are founded anew from it, all in step."""

import functools
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import pulumi
from pulumi_command import remote

from .backup import plan_of_backup
from .bundle import packed
from .machine import Machine
from .machine_commands import MachineCommands
from .node.protocol.snapshot_file import DamagedError, SnapshotFile, read
from .node.shared.backup import NEWEST
from .node.shared.paths import ANSWERED, WRAPPER
from .pinned_values import pin
from .plan import Problem, Spec, spec_text, with_restore
from .plan.guard.state import read_state
from .plan.restore import RestorePlan, check_identity, in_store
from .remote_command import answer, command_line

_From = TypedDict("_From", {"from": NotRequired[str]})
"""Path of a file that `etcdctl snapshot save` made, or in the destination of `backup` a name, or `newest`."""


class Restore(_From):
    """A restore of the cluster from a snapshot."""

    confirm: NotRequired[str]
    """Name of the cluster, as a confirmation."""
    identity: NotRequired[pulumi.Input[str]]
    """Private key of age that decrypts a snapshot of the destination of `backup` (secret). Default: none."""
    number: NotRequired[int]
    """It rises with every restore, because each is made once. Default: 1."""
    accept: NotRequired[list[str]]
    """Refusals that do not apply: `majority-away`, `unknown-cluster`. Default: none."""


_FOLDER = ".external-etcd-restore-"
# Only the login and root can read it: a snapshot has every Secret. What a failed run left goes first. A home may be
# shared by machines, so the folder has the member's name.
_RECEIVE_SECONDS = 60
_RECEIVE = (
    f'IFS= read -r d; cd; rm -rf "{_FOLDER}$0."*; umask 077; mkdir "$d" && [ -d "$d" ] && exit {ANSWERED}; '
    'echo "the home of the login is not writable" >&2; exit 1'
)
_DONE = "true"


def plan_of_restore(restore: Restore | None, args: Mapping[str, Any]) -> RestorePlan | None:
    """The restore for the plan; None without one. The file is read only if the last update has not made it.

    Args:
        args: the arguments of `EtcdCluster`; without `previous`, it is not known whether it has been made.
    """
    if restore is None:
        return None
    number = int(restore.get("number", 1))
    backup = plan_of_backup(args.get("backup"))
    plan = RestorePlan(
        str(restore.get("from", "")),
        restore.get("confirm", ""),
        number,
        restore.get("accept", []),
        place=backup.place if backup else "",
        identity="identity" in restore,
    )
    if "previous" not in args:
        return plan
    known = read_state(args["previous"])
    if known is not None and known.restored >= number:
        return plan
    if plan.stored:
        return replace(plan, pending=True)
    found, taken, trouble = _facts(plan.source)
    return replace(plan, pending=True, snapshot=found, taken=taken, trouble=trouble)


def _facts(source: str) -> tuple[SnapshotFile | None, str, str]:
    """The snapshot, the time of the file, and why it cannot be read."""
    try:
        there = Path(source).stat()
        found = _read(source, there.st_mtime_ns, there.st_size)
        return found, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(there.st_mtime)), ""
    except DamagedError as error:
        return None, "", str(error)
    except OSError as error:
        return None, "", error.strerror or str(error)


@functools.lru_cache
def _read(source: str, *_: int) -> SnapshotFile:
    return read(Path(source))


class Restores(NamedTuple):
    """What an update has to do with restores."""

    numbers: list[str]
    """Number of the last restore, with the pending one; empty: there was none."""
    pending: bool
    """Whether it makes one."""
    declared: bool
    """Whether it declares the commands of one."""


def restores_of(restore: RestorePlan | None, previous: Mapping[str, Any] | None) -> Restores:
    """What an update has to do with restores, after what the last update applied."""
    known = read_state(previous)
    number, listed = (0, False) if known is None else (known.restored, known.restore_listed)
    pending = restore is not None and restore.pending
    number = max(number, restore.number if restore is not None else 0)
    # Once removed from the configuration, its commands stay away: created again, they could do harm.
    return Restores([str(number)] if number else [], pending, pending or (restore is not None and listed))


def check_previous(args: Mapping[str, Any]) -> list[Problem]:
    """Why a restore is not possible with these arguments of `EtcdCluster`."""
    problems = []
    if "restore" in args and "previous" not in args:
        rule = "A restore is made once, so each update is compared with the last one"
        problems.append(Problem("previous", "nothing", rule, "Pass what previous_update() reads"))
    restore = args.get("restore", {})
    problems += check_identity(restore.get("identity"), "restore.identity")
    # A snapshot in the store is fetched by the machines themselves.
    copied = "restore" in args and not in_store(str(restore.get("from", "")))
    for index, machine in enumerate(args["members"] if copied else []):
        if machine["ssh"].get("sftp") is False:
            rule = "The snapshot is copied by sftp, because the state would contain it otherwise"
            remedy = "Give sshd there an sftp subsystem, and remove this"
            problems.append(Problem(f"members[{index}].ssh.sftp", "false", rule, remedy))
    return problems


class BegunError(pulumi.RunError):
    """An interrupted restore was continued with another snapshot. Pulumi prints it without a stack trace."""


class RestoreCommands:
    """The commands of a restore.

    Children of the cluster: the Stashes `<name>-restore-<number>` (token and SHA-256 with which it began) and
    `<name>-restore-run`. Of each member: `<member>-receive`, `<member>-snapshot` (the copy of the file),
    `<member>-stage`, `<member>-restore` and `<member>-start`. When it is complete, they stay as they are.

    If the snapshot is in the store, the members have no `receive` and `snapshot`. The first one has `<member>-find`,
    and its answer is kept in the Stash `<name>-restore-<number>-snapshot`. When the restore is complete, the next
    update removes `find` and all `stage` from the state, because the inputs of `stage` include the private key.

    Args:
        name: name of the cluster's component.
        plan: the restore.
        cluster: name of the cluster.
        parent: the cluster.
        identity: the private key, for a snapshot in the store.
    """

    def __init__(
        self,
        name: str,
        plan: RestorePlan,
        cluster: str,
        parent: pulumi.Resource,
        identity: pulumi.Input[str] = "",
    ) -> None:
        self._plan = plan
        sha256 = plan.snapshot.sha256 if plan.snapshot else ""
        begun = {"token": f"{cluster}-{secrets.token_hex(4)}", "sha256": sha256}
        # An interrupted restore goes on with the token and the snapshot with which it began.
        self._begun = pin(f"{name}-restore-{plan.number}", begun, parent).output
        # Until it is complete, every run looks at all machines again: a repeated one finds some of them restored.
        opts = pulumi.ResourceOptions(
            parent=parent, replace_on_changes=["input"], ignore_changes=None if plan.pending else ["input"]
        )
        self._run = pulumi.Stash(f"{name}-restore-run", input=secrets.token_hex(4), opts=opts).id
        self._frozen = None if plan.pending else ["connection", "create", "stdin", "logging"]
        self._parent, self._kept = parent, f"{name}-restore-{plan.number}-snapshot"
        self._found: pulumi.Output[str] = pulumi.Output.from_input("")
        self._identity = identity
        if plan.stored and not plan.pending:
            pin(self._kept, "", parent)
            if plan.identity:
                pulumi.log.warn("The restore is complete: remove restore.identity, the private key.", parent)

    @property
    def finds(self) -> bool:
        """Whether the snapshot is found in the store, and not copied to the machines."""
        return self._plan.stored

    @property
    def stages(self) -> bool:
        """Whether the members have the command `stage`."""
        return self._plan.pending or not self._plan.stored

    def each_run(self, machines: pulumi.Output[str]) -> pulumi.Output[str]:
        """The text for which all machines are prepared, with the run: any of them may have lost everything."""
        return pulumi.Output.concat(machines, self._run)

    def receive(self, machine: Machine, commands: MachineCommands, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """Copies the snapshot to a machine."""
        folder = self._run.apply(lambda run: f"{_FOLDER}{machine['name']}.{run}")
        line = command_line(
            machine["ssh"], machine["name"], _RECEIVE_SECONDS, "sh", "-c", _RECEIVE, machine["name"], root=False
        )
        made = commands.command(
            "receive",
            create=line if self._plan.pending else _DONE,
            stdin=folder,
            after=after,
            ignore_changes=self._frozen,
        )
        return commands.copy(
            "snapshot",
            # When the restore is complete, the file is not needed any more: the state has the old one's hash.
            pulumi.FileAsset(self._plan.source) if self._plan.pending else pulumi.StringAsset("complete"),
            folder.apply(lambda known: f"{known}/snapshot.db"),
            after=[made],
            ignore_changes=None if self._plan.pending else ["connection", "source", "remotePath"],
        )

    def find(
        self,
        machine: Machine,
        commands: MachineCommands,
        *,
        spec: Spec,
        bundle: pulumi.Input[str],
        after: Sequence[pulumi.Resource],
    ) -> pulumi.Resource:
        """Finds the snapshot in the store; an interrupted restore goes on with the one that it found first."""

        def line(begun: Mapping[str, str]) -> str:
            wanted = with_restore(spec, self._plan, begun["token"], "", self._plan.source)
            return commands.asked("find", str(WRAPPER), "--answer", "find", spec_text(wanted))

        given: pulumi.Output[str] = pulumi.Output.secret(bundle).apply(lambda text: packed(str(text).encode()))
        made = commands.command("find", create=self._begun.apply(line), stdin=given, after=after)
        self._found = pin(self._kept, answer(made, machine["name"]), self._parent).output
        return made

    def command(
        self,
        machine: Machine,
        commands: MachineCommands,
        suffix: str,
        *,
        spec: Spec,
        bundle: pulumi.Input[str],
        after: Sequence[pulumi.Resource],
        stages: Mapping[str, pulumi.Input[str]] | None = None,
    ) -> tuple[remote.Command, pulumi.Output[str]]:
        """One step on a machine, and its answer.

        Args:
            suffix: `stage`, `restore` or `start`, the verb.
            bundle: certificates and keys, as JSON.
            stages: member -> answer of its stage; for `restore`.
        """

        def line(known: Mapping[str, Any]) -> str:
            begun, found = known["begun"], known["found"]
            self._refuse_another(begun, found)
            restored = with_restore(spec, self._plan, begun["token"], begun["sha256"], found)
            wanted = spec if suffix == "start" else restored
            return commands.asked(suffix, str(WRAPPER), "--answer", suffix, spec_text(wanted))

        def stdin(known: Mapping[str, Any]) -> str:
            if suffix == "start":
                return packed(str(known["bundle"]).encode())
            more = {"run": known["run"], "stages": {name: json.loads(text) for name, text in known["stages"].items()}}
            if suffix == "stage" and known["identity"]:
                more["identity"] = known["identity"]
            return packed(json.dumps({**json.loads(known["bundle"]), "restore": more}, sort_keys=True).encode())

        if not self._plan.pending:
            made = commands.command(suffix, create=_DONE, stdin="", after=after, ignore_changes=self._frozen)
            return made, made.stdout
        known = pulumi.Output.all(
            bundle=pulumi.Output.secret(bundle), run=self._run, stages=stages or {}, identity=self._identity
        )
        given: pulumi.Output[str] = known.apply(stdin)
        create = pulumi.Output.all(begun=self._begun, found=self._found).apply(line)
        made = commands.command(suffix, create=create, stdin=given, after=after)
        return made, answer(made, machine["name"])

    def _refuse_another(self, begun: Mapping[str, str], found: str) -> None:
        """Refuses to go on with another snapshot than the one with which this restore began."""
        stored, source = not begun["sha256"], self._plan.source
        if stored != self._plan.stored or (stored and source not in (NEWEST, found)):
            raise BegunError(
                f"restore.from: given {source}. The restore {self._plan.number} began with "
                f"{(found or 'the store') if stored else 'a file'}, and was interrupted. Set it back, or raise "
                "restore.number, so that all members begin anew from this one."
            )

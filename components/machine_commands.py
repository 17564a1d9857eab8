"""The commands of one machine, and how they get etcd-node there."""

import copy
from collections.abc import Sequence

import pulumi
from pulumi_command import remote

from . import bundle, ssh_diagnosis, upload
from .dependencies import without_dependencies
from .machine import Ssh, connection
from .node.shared.limits import killed_after
from .remote_command import command_line
from .stack_traces import no_stack_traces


class MachineCommands:
    """Commands with the same way to a machine.

    Args:
        name: prefix of all names; the copy of etcd-node is `<name>-program`, the question for sftp `<name>-sftp`.
        machine: name of the machine in messages.
        ssh: the way to it.
        parent: parent of all commands.
        server: the resource that is deleted with the machine, if any.
    """

    def __init__(
        self, name: str, machine: str, ssh: Ssh, parent: pulumi.Resource, server: pulumi.Resource | None = None
    ) -> None:
        self._name, self._machine, self._ssh, self._parent, self._server = name, machine, ssh, parent, server
        self.connection = connection(ssh)
        self.hooks = ssh_diagnosis.hooks(f"{name}-way", machine)

    def asked(self, verb: str, *words: str) -> str:
        """The command line of a verb; `words` begin with the program."""
        return command_line(self._ssh, self._machine, killed_after(verb), *words)

    def program(
        self, identity: pulumi.Input[str], machines: pulumi.Input[str]
    ) -> tuple[pulumi.Output[str], pulumi.Output[list[pulumi.Resource]]]:
        """The first two lines of stdin of the command that installs etcd-node, and the resources that it waits for.

        Args:
            identity: the machine's. If it differs, this may be another machine.
            machines: text that differs if the machine may have lost its copy.
        """
        path, sftp = upload.place(self._ssh, identity, machines), self._ssh.get("sftp")
        question = None
        if sftp is None:
            question = self.command("sftp", create=upload.question(self._ssh, self._machine), stdin=identity)

        async def given() -> tuple[str, list[pulumi.Resource]]:
            before: list[pulumi.Resource] = [] if question is None else [question]
            works = sftp if question is None else await upload.works(question, self._machine)
            if not works:
                # No file: the rest of an earlier copy must not be taken for a part of this one.
                return f"\n{bundle.program()}", before
            with no_stack_traces():
                return "", [self._copy(path, before)]

        found: pulumi.Output[tuple[str, list[pulumi.Resource]]] = pulumi.Output.from_input(given())
        lines = pulumi.Output.all(path, found).apply(lambda known: str(known[1][0]) or f"{known[0]}\n")
        return lines, found.apply(lambda both: both[1])

    def _copy(self, path: pulumi.Input[str], after: Sequence[pulumi.Resource]) -> remote.CopyToRemote:
        """The copy of etcd-node on the machine."""
        hooks = copy.copy(self.hooks)
        hooks.on_error = [upload.hook(f"{self._name}-upload", self._machine)]
        return remote.CopyToRemote(
            f"{self._name}-program",
            connection=self.connection,
            source=pulumi.FileAsset(str(bundle.file())),
            remote_path=without_dependencies(path),
            opts=pulumi.ResourceOptions(
                parent=self._parent, depends_on=list(after), hooks=hooks, deleted_with=self._server
            ),
        )

    def copy(
        self,
        suffix: str,
        source: pulumi.Asset,
        path: pulumi.Input[str],
        *,
        after: Sequence[pulumi.Resource],
        ignore_changes: list[str] | None = None,
    ) -> remote.CopyToRemote:
        """A copy of a file on the machine; arguments as for `command`, and the path relative to the login's home."""
        return remote.CopyToRemote(
            f"{self._name}-{suffix}",
            connection=self.connection,
            source=source,
            remote_path=path,
            opts=pulumi.ResourceOptions(
                parent=self._parent,
                depends_on=list(after),
                ignore_changes=ignore_changes,
                hooks=self.hooks,
                deleted_with=self._server,
            ),
        )

    def command(
        self,
        suffix: str,
        *,
        create: pulumi.Input[str],
        stdin: pulumi.Input[str] | None = None,
        update: str | None = None,
        delete: pulumi.Input[str] | None = None,
        after: pulumi.Input[Sequence[pulumi.Resource]] = (),
        ignore_changes: list[str] | None = None,
        anew: pulumi.ResourceHook | None = None,
        secret: bool = False,
        later: bool = False,
    ) -> remote.Command:
        """A command.

        Args:
            suffix: of its name.
            create: its command line.
            stdin: its standard input. Default: none.
            update: the command line of an update. Default: `create`.
            delete: the command line of its deletion. Default: nothing.
            after: what it waits for.
            ignore_changes: inputs whose change does not run it again.
            anew: a hook that refuses its replacement.
            secret: whether its standard output is secret.
            later: whether `after` implies every resource that its inputs come from, and its way to the machine.
        """
        hooks = copy.copy(self.hooks)
        if anew is not None:
            # Refuse before the way to the machine is checked.
            hooks.before_create = [anew, *(hooks.before_create or [])]
        return remote.Command(
            f"{self._name}-{suffix}",
            connection=without_dependencies(self.connection) if later else self.connection,
            create=without_dependencies(create) if later else create,
            update=update,
            delete=delete,
            stdin=without_dependencies(stdin) if later and stdin is not None else stdin,
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self._parent,
                depends_on=after,
                ignore_changes=ignore_changes,
                additional_secret_outputs=["stdout"] if secret else None,
                hooks=hooks,
                deleted_with=self._server,
            ),
        )

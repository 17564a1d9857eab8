"""Compares every update with the last one before it changes anything, and refuses or announces it."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import pulumi
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import rpc, settings
from pulumi.runtime.proto import resource_pb2

from .irreplaceable import outputs_in_state
from .plan import PlanError
from .plan.applied import measurements
from .plan.guard import State, Verdict, judge, read_state
from .plan.guard.rules import Spelled
from .whole_numbers import whole

OUTPUT = "applied"
"""The stack's output that the next update is compared with."""
_READ_SECONDS = 60
# Per run of a program, which has its own monitor. Pulumi refuses a second resource of the same name.
_own_stacks: WeakKeyDictionary[Any, pulumi.StackReference] = WeakKeyDictionary()


class ChangeRefusedError(PlanError, pulumi.RunError):
    """The change cannot be made in one update. Pulumi prints it without a stack trace.

    Args:
        verdict: the guard's decision, with problems.
        cluster: name of the cluster.
        override: name of the argument `override` for the user, such as a configuration key.
        given: its value.
    """

    def __init__(self, verdict: Verdict, cluster: str, override: str, given: str) -> None:
        super().__init__(verdict.problems)
        self.verdict = verdict
        self._cluster, self._override, self._given = cluster, override, given

    def __str__(self) -> str:
        lines = [
            f"This change of the cluster {self._cluster} is refused; nothing was touched:",
            *(f"  {problem}" for problem in self.problems),
        ]
        if self.verdict.updates:
            lines.append("Make these updates instead, each with its own pulumi up:")
            lines += [f"  {number}. {update}" for number, update in enumerate(self.verdict.updates, start=1)]
        if self._given:
            lines.append(f"{self._override} is {self._given!r}, which was for another change.")
        if self.verdict.override:
            lines.append(
                f"To proceed anyway, set {self._override} to {self.verdict.override}; it is valid for this change only."
            )
        return "\n".join(lines)


async def previous_outputs(*names: str) -> dict[str, Any]:
    """Name -> value of these outputs of the stack's last update; empty before the first.

    The values are plain, not `Output`s, so that a change is refused before anything is registered. A failed update does
    not change the outputs.
    """
    run = settings.get_monitor()
    if run not in _own_stacks:
        own = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
        _own_stacks[run] = pulumi.StackReference(own)
    found = {}
    for name in names:
        details = await _own_stacks[run].get_output_details(name)
        value = details.value if details.secret_value is None else details.secret_value
        if value is not None:
            found[name] = value
    return found


async def previous_update(output: str = OUTPUT) -> dict[str, Any] | None:
    """The argument `previous`: what the stack's last successful update applied; None before the first.

    Await it in a program that `pulumi.run` runs, before resources are declared. A change is then refused before
    anything is touched.

    Args:
        output: name of the output with which the program exports `EtcdCluster.applied`, or an object that has it. All
            of an output's value is returned.
    """
    return (await previous_outputs(output)).get(output)


def read_output(name: str) -> Any:
    """The value of an output of the stack's last update; None without it. Unlike `previous_outputs`, it need not be
    awaited, so that a component can read it before it is declared."""
    monitor = settings.get_monitor()
    if monitor is None:
        return None
    arguments = Struct()
    arguments["name"] = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    request = resource_pb2.ResourceInvokeRequest(tok="pulumi:pulumi:readStackOutputs", args=arguments)
    answer = monitor.Invoke(request, timeout=_READ_SECONDS)
    if answer.failures:
        raise pulumi.RunError(f"The stack's outputs cannot be read: {answer.failures[0].reason}")
    # The engine marks secrets, and a program can make the output one.
    outputs = rpc.unwrap_rpc_secret(rpc.deserialize_properties(getattr(answer, "return")).get("outputs", {}))
    return whole(outputs.get(name))


def accept(
    previous: Mapping[str, Any] | None,
    wanted: State,
    override: str = "",
    spelled: Spelled = str,
    acknowledge: Collection[str] = (),
) -> Verdict:
    """The guard's decision, if the update is allowed.

    Args:
        previous: what the last update applied; None: nothing to compare with.
        override: value of the argument `override`; empty: none.
        spelled: the user's name for an argument of `EtcdCluster`.
        acknowledge: value of the argument `acknowledge`, for the steps.

    Raises:
        ChangeRefusedError: the update is not allowed.
    """
    state = read_state(previous)
    measured = measurements(previous)
    verdict = judge(state, wanted, override, spelled, acknowledge=acknowledge, measured=measured)
    if previous and state is None:
        # There was an update, so the steps of a bootstrap would be wrong.
        return replace(verdict, steps=(), compared=False)
    if verdict.refused:
        raise ChangeRefusedError(verdict, wanted.cluster, spelled("override"), override)
    return verdict


async def warn_if_not_exported(cluster: pulumi.Resource, previous: Mapping[str, Any] | None) -> None:
    """Warns if the program passes a `previous` that is None every time, as it does not export what it reads.

    The state has `applied` also without an export. If the stack has no outputs at all, there is no warning: that is so
    after a failed first update.
    """
    if previous is not None:
        return
    try:
        state = await outputs_in_state()
    except Exception:
        # No reason to fail. Mocks in a user's tests may refuse what they do not know.
        return
    own = state.get(str(await cluster.urn.future()), {})
    exported = any(len(outputs) for urn, outputs in state.items() if "::pulumi:pulumi:Stack::" in urn)
    if exported and OUTPUT in own and len(own[OUTPUT]):
        pulumi.log.warn(
            "An earlier update has proved this cluster healthy, but `previous` is None. So this change is compared "
            "with nothing, its steps are those of a new cluster, and only the machines can refuse it. Export `applied` "
            "of this cluster as the output that the program reads (`previous_update`, `previousOutput`). If it is "
            "exported now, the next successful update ends this warning.",
            cluster,
        )


def announce(verdict: Verdict, resource: pulumi.Resource) -> None:
    """Prints the steps of an accepted change with notes on the members' machines, overridden problems, and a warning if
    nothing could be compared."""
    if not verdict.compared:
        pulumi.log.warn(
            f"The output `{OUTPUT}` of the last update is from another version of this program and cannot be read. "
            "This change is compared with nothing, and only the machines can refuse it. In this update, change nothing "
            "but the program.",
            resource,
        )
    if verdict.overridden:
        pulumi.log.warn(f"Overridden once, with {verdict.override}:", resource)
        for problem in verdict.problems:
            pulumi.log.warn(f"  {problem}", resource)
    if verdict.unused_override:
        pulumi.log.warn("There is nothing to override. The override is no longer needed; remove it.", resource)
    for number, step in enumerate(verdict.steps, start=1):
        pulumi.log.info(f"{number:2}. {step}", resource)
    for note in verdict.notes:
        pulumi.log.info(f"    {note}", resource)

"""Every update is compared with the last one before anything is touched: read, judged, refused or announced."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pulumi

from .plan import PlanError
from .plan.guard import State, Verdict, judge, read_state
from .plan.guard.rules import Spelled

OUTPUT = "applied"
"""The stack's output in which an update leaves what the next one is compared with."""


class ChangeRefusedError(PlanError, pulumi.RunError):
    """The change cannot be made in one update. Pulumi prints it without a stack trace.

    Args:
        verdict: the guard's decision, with problems.
        cluster: name of the cluster.
        override: the user's spelling of the argument `override`.
        given: what was given there.
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
            lines.append("These updates lead there, each with its own pulumi up:")
            lines += [f"  {number}. {update}" for number, update in enumerate(self.verdict.updates, start=1)]
        if self._given:
            lines.append(f"{self._override} is {self._given!r}, which was for another change.")
        lines.append(
            f"Who knows better sets {self._override} to {self.verdict.override}: good for exactly this change, once."
        )
        return "\n".join(lines)


async def previous_outputs(*names: str) -> dict[str, Any]:
    """Name -> value of those outputs that this stack's last update left; empty before the first.

    Nothing of it is an `Output`: what is compared with it is refused before anything is registered. An update that
    fails leaves the outputs as they were.

    Args:
        names: the outputs wanted.
    """
    own = pulumi.StackReference(f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}")
    found = {}
    for name in names:
        details = await own.get_output_details(name)
        value = details.value if details.secret_value is None else details.secret_value
        if value is not None:
            found[name] = value
    return found


async def previous_update(output: str = OUTPUT) -> dict[str, Any] | None:
    """What this stack's last update that succeeded left to be `previous` of the next; None before the first.

    To be awaited in a program that `pulumi.run` runs, before resources are declared: what is refused by it is refused
    before anything is touched.

    Args:
        output: name of the output in which the program exports `EtcdCluster.applied`.
    """
    return (await previous_outputs(output)).get(output)


def accept(previous: Mapping[str, Any] | None, wanted: State, override: str = "", spelled: Spelled = str) -> Verdict:
    """The guard's decision, when the update may be made.

    Args:
        previous: what the last update left; None: nothing to compare with.
        wanted: what is wanted.
        override: what was given to override a refusal; empty: nothing.
        spelled: the user's spelling of an argument of `EtcdCluster`.

    Raises:
        ChangeRefusedError: it may not.
    """
    state = read_state(previous)
    verdict = judge(state, wanted, override, spelled)
    if previous and state is None:
        # There was an update, so these steps are not those of a bootstrap.
        return replace(verdict, steps=(), compared=False)
    if verdict.refused:
        raise ChangeRefusedError(verdict, wanted.cluster, spelled("override"), override)
    return verdict


def announce(verdict: Verdict, resource: pulumi.Resource) -> None:
    """Prints the steps of an accepted change, one line each, what was overridden, and what could not be compared."""
    if not verdict.compared:
        pulumi.log.warn(
            f"What the last update left in `{OUTPUT}` is of another version of this program and cannot be read: this "
            "change is compared with nothing, and only the machines can refuse it. Change nothing but the program in "
            "this update.",
            resource,
        )
    if verdict.overridden:
        pulumi.log.warn(f"Overridden once, with {verdict.override}:", resource)
        for problem in verdict.problems:
            pulumi.log.warn(f"  {problem}", resource)
    if verdict.unused_override:
        pulumi.log.warn("There is nothing to override, and what the override was for is past: take it out.", resource)
    for number, step in enumerate(verdict.steps, start=1):
        pulumi.log.info(f"{number:2}. {step}", resource)

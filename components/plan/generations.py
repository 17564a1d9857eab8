"""Generations: the one way to say that a machine is to be replaced, one machine of a cluster at a time."""

from collections.abc import Mapping

from .errors import Problem


def check_generations(
    previous: Mapping[str, int], wanted: Mapping[str, int], key: str = "slots", *, on_volumes: bool = False
) -> list[Problem]:
    """Why these generations cannot follow those of the last update; empty when they can.

    Args:
        previous: slot -> generation as the last update that succeeded left it; a slot that is new is not in it.
        wanted: slot -> generation.
        key: the key of the list of slots.
        on_volumes: the data are on volumes, which outlive their machines.
    """
    problems = []
    raised = [name for name, generation in wanted.items() if generation > previous.get(name, generation)]
    for name, generation in wanted.items():
        before = previous.get(name, generation)
        if generation < before:
            rule = f"A generation only ever rises; that of {name} was {before} in the last update"
            problems.append(
                Problem(_at(key, name), str(generation), rule, f"Set it back to {before}, or to {before + 1}")
            )
    if len(raised) > 1:
        said = ", ".join(f"{name} from {previous[name]} to {wanted[name]}" for name in raised)
        rule = (
            "One update replaces one machine of a cluster: each has to be back, in step and healthy, before the next "
            "one goes"
        )
        remedy = f"Raise that of {raised[0]} alone, run pulumi up, then raise the next"
        problems.append(Problem(_at(key, raised[1]), said, rule, remedy))
    if raised and len(wanted) == 1 and not on_volumes:
        rule = "The data of a cluster of one member are on its machine's disk alone, and would go with it"
        remedy = "Let the cluster grow to 3 members first, or take a snapshot, destroy it, and make it anew"
        problems.append(Problem(_at(key, raised[0]), str(wanted[raised[0]]), rule, remedy))
    return problems


def _at(key: str, name: str) -> str:
    return f"{key}.{name}.generation"

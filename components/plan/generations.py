"""Generations: the one way to say that a machine is to be replaced, one machine of a cluster at a time."""

from collections.abc import Mapping

from .errors import Problem


def check_generations(previous: Mapping[str, int], wanted: Mapping[str, int], key: str = "slots") -> list[Problem]:
    """Why these generations cannot follow those of the last update; empty when they can.

    Args:
        previous: slot -> generation as the last update that succeeded left it; a slot that is new is not in it.
        wanted: slot -> generation.
        key: the key of the list of slots.
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
    return problems


def _at(key: str, name: str) -> str:
    return f"{key}.{name}.generation"

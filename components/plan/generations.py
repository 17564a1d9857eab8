"""Generations: raising one replaces a machine, and an update replaces only one machine of a cluster."""

from collections.abc import Mapping

from .errors import Problem


def check_generations(previous: Mapping[str, int], wanted: Mapping[str, int], key: str = "slots") -> list[Problem]:
    """Why these generations cannot follow those of the last update; empty when they can.

    Args:
        previous: slot -> generation after the last successful update; without new slots.
        wanted: slot -> generation.
        key: the key of the list of slots.
    """
    problems = []
    raised = [name for name, generation in wanted.items() if generation > previous.get(name, generation)]
    for name, generation in wanted.items():
        before = previous.get(name, generation)
        if generation < before:
            rule = f"A generation can only rise; in the last update, that of {name} was {before}"
            remedy = f"Set it to {before}, or to {before + 1} to replace the machine"
            problems.append(Problem(_at(key, name), str(generation), rule, remedy))
    if len(raised) > 1:
        said = ", ".join(f"{name} from {previous[name]} to {wanted[name]}" for name in raised)
        rule = (
            "One update can replace only one machine of a cluster: its member must be back, caught up and healthy "
            "before the next machine is deleted"
        )
        remedy = f"Raise only that of {raised[0]}, run pulumi up, then raise the next one"
        problems.append(Problem(_at(key, raised[1]), said, rule, remedy))
    return problems


def _at(key: str, name: str) -> str:
    return f"{key}.{name}.generation"

"""The arguments of a cluster with its machines on a cloud, as a plan: what all clouds have in common.

Arguments are plain data with the names of `CloudClusterArgs`. Those of a configuration are the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .cloud import WantedType
from .errors import Problem


def access(args: Mapping[str, Any], *, through_another_bastion: bool) -> dict[str, Any]:
    """Who can reach the machines, and how, as fields of a plan.

    Args:
        through_another_bastion: whether ssh goes through an existing bastion.
    """
    return {
        "architecture": args.get("architecture"),
        "operators": tuple(args.get("operators", ())),
        "clients": tuple(args.get("clients", ())),
        "metrics_clients": tuple(args.get("metrics_clients", ())),
        "open_to_the_world": args.get("open_to_the_world", False),
        "public_ipv4": args.get("public_ipv4", True),
        "through_another_bastion": through_another_bastion,
    }


def slot_fields(slot: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a slot that all clouds have, as fields of the plan's slot."""
    return {
        "name": slot.get("name", ""),
        "address": slot.get("address"),
        "generation": slot.get("generation", 1),
        "extra_names": tuple(slot.get("extra_names", ())),
    }


def types_of(
    argument: str,
    slots: Sequence[tuple[str, str, str]],
    bastion: tuple[str, str] | None,
    spelled: Callable[[str], str],
) -> list[WantedType]:
    """The machine types of a plan without problems, and the keys at which they are given.

    Args:
        argument: the argument with the type of a machine.
        slots: name, type and place of each slot.
        bastion: type and place of the created bastion; None: there is none.
        spelled: the user's spelling of an argument.
    """
    name = spelled(argument).rpartition(".")[2]
    found = [WantedType(slot, f"{spelled('slots')}.{slot}.{name}", type_, place) for slot, type_, place in slots]
    return found if bastion is None else [*found, WantedType("", f"{spelled('bastion')}.{name}", *bastion)]


def where_given(
    problems: Sequence[Problem], given: Mapping[str, Any], shared: Sequence[str], root: str = ""
) -> list[Problem]:
    """The problems, one per key. That of a slot or bastion with a default is at the default.

    Args:
        given: the arguments, or the cloud's object in the configuration.
        shared: names in there that are the defaults of slots and bastion.
        root: key of that object, with a dot at its end.
    """
    found: dict[str, Problem] = {}
    for problem in problems:
        at = problem.key
        match = re.fullmatch(rf"{re.escape(root)}(?:slots\[(\d+)\]|(bastion))\.({'|'.join(shared)})", at)
        if match is not None:
            own = given["slots"][int(match[1])] if match[1] else given.get("bastion", {})
            at = at if match[3] in own else f"{root}{match[3]}"
        found.setdefault(at, replace(problem, key=at))
    return list(found.values())


def check_downloads(
    reach: bool, args: Mapping[str, Any], rule: str, remedy: str, spelled: Callable[[str], str]
) -> list[Problem]:
    """Why machines could not download releases; empty when they can.

    Args:
        reach: whether they reach GitHub.
        args: the arguments of the cluster.
        rule: why they do not.
        remedy: another remedy than a mirror.
        spelled: the user's spelling of an argument of the cluster.
    """
    if reach or "release_mirror" in args or "release_proxy" in args:
        return []
    return [Problem(spelled("release_mirror"), "nothing", rule, remedy)]

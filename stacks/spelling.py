"""How the keys of a platform's object are spelled, and where a value stands that several machines share."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def spelling(root: str) -> Callable[[str], str]:
    """The key below `root` for an argument of a plan: `vpc_range` is at `aws.vpcRange`."""

    def spelled(name: str) -> str:
        return f"{root}.{re.sub(r'_([a-z])', lambda match: match[1].upper(), name)}"

    return spelled


def where_given(key: str, given: Mapping[str, Any], root: str, shared: Sequence[str]) -> str:
    """The key at which a value stands: what a slot or the bastion does not say itself, it has from the whole.

    Args:
        key: the key of a problem.
        given: the platform's object.
        root: its key.
        shared: the names that the whole may say for all.
    """
    match = re.fullmatch(rf"{root}\.(?:slots\[(\d+)\]|(bastion))\.({'|'.join(shared)})", key)
    if match is None:
        return key
    own = given["slots"][int(match[1])] if match[1] else given.get("bastion", {})
    return key if match[3] in own else f"{root}.{match[3]}"

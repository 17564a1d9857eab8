"""Where the machine of a slot comes from, and on what it stands: with another value of any of it, it is another one.

Plain data (fact -> text), which an update leaves for the guard of the next. Two machines are compared in what is known
of both, so a fact that is added here is no change of a machine that an older program made.
"""

from collections.abc import Mapping

Origin = Mapping[str, str]
"""Fact -> its value, nothing of it secret; what each fact means, and what it decides, is in `guard.origins`."""

PLATFORM = "platform"
EXISTS: Origin = {PLATFORM: "hosts"}
"""A machine that Pulumi has not made."""
MADE = "made"
"""Stands for the ID of what Pulumi makes itself."""


def on_volume(origin: Origin, size: int | None) -> dict[str, str]:
    """An origin with the machine's volume.

    Args:
        origin: all else.
        size: of the volume, in GB or GiB as its cloud has it; None: there is none.
    """
    return {**origin, "volume": "" if size is None else str(int(size))}


def known(fact: str, value: object) -> dict[str, str]:
    """A fact that is known only if it is a text by now."""
    return {fact: value} if isinstance(value, str) else {}

"""The origin of a slot's machine: facts that, if they change, mean another machine.

Plain data (fact -> text) that an update leaves for the guard of the next. Only facts that are known of both machines
are compared, so a new fact here does not change a machine that an older program created.
"""

from collections.abc import Mapping

Origin = Mapping[str, str]
"""Fact -> value, without secrets; `guard.machine_replacement` says what a change of each fact means."""

PLATFORM = "platform"
EXISTS: Origin = {PLATFORM: "hosts"}
"""A machine that Pulumi did not create."""
MADE = "made"
"""Stands for the ID of something that Pulumi creates."""


def on_volume(origin: Origin, size: int | None) -> dict[str, str]:
    """The origin, with the size of the machine's volume in the cloud's unit (GB or GiB); None: no volume."""
    return {**origin, "volume": "" if size is None else str(int(size))}


def known(fact: str, value: object) -> dict[str, str]:
    """The fact if its value is a text; else (an `Output`, for example) it is not known yet."""
    return {fact: value} if isinstance(value, str) else {}

"""The one error that people see."""

from __future__ import annotations


class NodeError(Exception):
    """Something that the operator has to know: what is wrong, and what to do about it.

    Args:
        cause: what was found and which rule it breaks, without a full stop; ends with a line break after a list.
        remedy: what to do, one or more complete sentences.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}{remedy}" if cause.endswith("\n") else f"{cause}. {remedy}")
        self.cause = cause
        self.remedy = remedy


class OverdueError(NodeError):
    """The time of a verb is over. It may come out of any call, and who tries something else instead lets it pass."""

"""The one error that people see."""

from __future__ import annotations


class NodeError(Exception):
    """An error for the operator: what is wrong, and what to do.

    Args:
        cause: what is wrong and which rule it breaks, without a full stop; ends with a line break after a list.
        remedy: what to do, one or more complete sentences.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}{remedy}" if cause.endswith("\n") else f"{cause}. {remedy}")
        self.cause = cause
        self.remedy = remedy


class OverdueError(NodeError):
    """The time limit of a verb is over. Any call can raise it, and fallbacks must not catch it."""

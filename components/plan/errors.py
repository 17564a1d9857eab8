"""Refusals of input: each with key, given value, rule and remedy; all problems are reported at once."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

_SHOWN = 120


@dataclass(frozen=True)
class Problem:
    """One reason to refuse an input."""

    key: str
    """The key as the user writes it, with its path: `machines[1].address`."""
    value: str
    """The given value as text, from `shown`. Never a secret."""
    rule: str
    """The broken rule, a sentence without its full stop."""
    remedy: str
    """What to do, a sentence without its full stop."""

    def __str__(self) -> str:
        return f"{self.key}: given {self.value}. {_sentence(self.rule)} {_sentence(self.remedy)}"


class PlanError(ValueError):
    """An input was refused; `problems` has all reasons, at least one, in the order of the input."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        first = self.problems[0]
        self.key, self.value, self.rule, self.remedy = first.key, first.value, first.rule, first.remedy
        super().__init__("\n".join(str(problem) for problem in self.problems))


def refuse(problems: Sequence[Problem]) -> None:
    """Raises PlanError when there is any problem."""
    if problems:
        raise PlanError(problems)


def shown(value: object) -> str:
    """The value for a message: quoted, on one line, never a private key; `nothing` for None."""
    if value is None:
        return "nothing"
    if not isinstance(value, str | int | float | Collection):
        return "a value that is not known yet"  # an `Output`
    text = repr(value)
    if "PRIVATE KEY" in text:
        return "a private key (not shown)"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?` if a known name is similar, else empty."""
    close = get_close_matches(given, list(known), n=1, cutoff=0.7)
    return f"Did you mean {close[0]!r}?" if close else ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."

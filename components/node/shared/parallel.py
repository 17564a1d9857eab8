"""The same question to several machines at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def each(ask: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """Calls a function for all items at the same time, and waits for all.

    The executors of the standard library would do the same, but their import takes as long as the calls.

    Returns:
        The results in the order of the items. Raises what a call raised, if one did.
    """
    given = list(items)
    if len(given) == 1:
        return [ask(given[0])]
    results: dict[int, Any] = {}
    errors: list[BaseException] = []

    def one(place: int, item: _T) -> None:
        try:
            results[place] = ask(item)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in enumerate(given)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(given))]

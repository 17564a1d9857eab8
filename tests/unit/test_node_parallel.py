"""Questions to several machines at once."""

import threading

import pytest

from components.node.shared import parallel


def test_all_are_asked_at_the_same_time_and_the_answers_keep_their_order() -> None:
    together = threading.Barrier(3)

    def ask(number: int) -> int:
        together.wait(10)
        return number * 2

    assert parallel.each(ask, [3, 1, 2]) == [6, 2, 4]
    assert parallel.each(str, [7]) == ["7"]
    assert parallel.each(str, []) == []


@pytest.mark.parametrize("numbers", [[0], [1, 0, 2]])
def test_an_error_is_raised_when_all_have_been_asked(numbers: list[int]) -> None:
    asked: list[int] = []

    def ask(number: int) -> float:
        asked.append(number)
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        parallel.each(ask, numbers)
    assert sorted(asked) == sorted(numbers)

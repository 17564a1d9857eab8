"""Where data may be: judged for a member that is new there, said of one that has had them there."""

from collections.abc import Callable, Mapping

from .errors import Problem
from .sizes import check_place


def check_places(
    directories: Mapping[str, str], before: Mapping[str, str], key: Callable[[int, str], str]
) -> tuple[list[Problem], list[str]]:
    """Why members cannot have their data where they are wanted, and what to tell of those that have them there already.

    An earlier version accepted such places. A cluster that lives with one stays manageable.

    Args:
        directories: member -> data directory, as it is wanted.
        before: member -> data directory in the last update; empty before the first.
        key: index in the list of members and data directory -> the user's key of the directory.

    Returns:
        Problems, and warnings in complete sentences.
    """
    problems: dict[str, Problem] = {}
    warnings = []
    for index, (member, directory) in enumerate(directories.items()):
        for problem in check_place(directory, key(index, directory)):
            if before.get(member) == directory:
                warnings.append(
                    f"The data of {member} are in {directory}, where no member begins any more. {problem.rule}. "
                    f"Exchange {member} for a member of another name with its data in another directory."
                )
            else:
                problems.setdefault(problem.key, problem)
    return list(problems.values()), warnings

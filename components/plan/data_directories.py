"""Places of data directories: refused for a member that is new there, a warning for one that is there already."""

from collections.abc import Callable, Mapping

from .errors import Problem
from .sizes import check_place


def check_data_directories(
    directories: Mapping[str, str], before: Mapping[str, str], key: Callable[[int, str], str]
) -> tuple[list[Problem], list[str]]:
    """Checks where members have their data.

    Earlier versions accepted places that are refused now. A cluster that uses one must remain manageable.

    Args:
        directories: member -> desired data directory.
        before: member -> data directory in the last update; empty before the first.
        key: index of the member and data directory -> the user's key of the directory.

    Returns:
        Problems, and warnings in complete sentences.
    """
    problems: dict[str, Problem] = {}
    warnings = []
    for index, (member, directory) in enumerate(directories.items()):
        for problem in check_place(directory, key(index, directory)):
            if before.get(member) == directory:
                warnings.append(
                    f"The data of {member} are in {directory}, which new members cannot use. {problem.rule}. "
                    f"Replace {member} by a member with another name and another data directory."
                )
            else:
                problems.setdefault(problem.key, problem)
    return list(problems.values()), warnings

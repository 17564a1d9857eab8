"""Quorum arithmetic."""


def quorum(members: int) -> int:
    """The quorum of that many voters. Raises ValueError below one."""
    if members < 1:
        raise ValueError(f"a cluster must have at least one member, not {members}")
    return members // 2 + 1


def tolerated(members: int) -> int:
    """How many failures that many voters tolerate."""
    return members - quorum(members)

"""Arithmetic of majorities."""


def quorum(members: int) -> int:
    """How many of that many voting members must agree. Raises ValueError below one member."""
    if members < 1:
        raise ValueError(f"a cluster has at least one member, not {members}")
    return members // 2 + 1


def tolerated(members: int) -> int:
    """How many of that many voting members may be lost while the others still agree."""
    return members - quorum(members)

"""The facts as a table for people."""

from collections.abc import Iterator, Sequence

from .facts import Cluster, Stack

_TITLES = (
    *("STACK", "CLUSTER", "ETCD", "MEMBERS", "HEALTHY AT", "EXPIRES NEXT"),
    *("LAST SNAPSHOT", "RESTORE PROVED", "NEXT UPDATE"),
)
_NOTHING = "–"


def table(stacks: Sequence[Stack], others: Sequence[str]) -> str:
    """The table, and below it what a person should know or do.

    Args:
        stacks: the stacks.
        others: names of stacks without a cluster.
    """
    rows = [row for each in stacks for row in _rows(each)]
    blocks = [_aligned([_TITLES, *rows])] if rows else ["No cluster was found."]
    if notes := [f"- {note}" for each in stacks for note in _notes(each)]:
        blocks.append("\n".join(notes))
    if others:
        blocks.append(f"Without a cluster in their outputs: {', '.join(others)}.")
    return "\n\n".join(blocks) + "\n"


def _rows(stack: Stack) -> Iterator[tuple[str, ...]]:
    of_all = [text for text in (stack.unfinished, stack.preview) if text]
    if not stack.clusters:
        yield (stack.name, *[_NOTHING] * 7, "; ".join(of_all) or "not known")
    for number, each in enumerate(stack.clusters):
        # What is known of the stack as a whole is in its first row.
        does = of_all if number == 0 else []
        if each.renews:
            does = [*does, f"renews {len(each.renews)} certificate{'s' * (len(each.renews) != 1)}"]
        yield (
            stack.name,
            each.name,
            each.version or _NOTHING,
            str(len(each.members)) if each.members else _NOTHING,
            _minute(each.checked),
            _expiry(each),
            (_minute(each.snapshot) if each.snapshot else "none") if each.backup else _NOTHING,
            f"failed {_minute(each.failed_drill)}" if each.failed_drill else _minute(each.proved),
            "; ".join(does) or _NOTHING,
        )


def _expiry(cluster: Cluster) -> str:
    if cluster.expires is None:
        return _NOTHING
    names, days = cluster.expires.names, cluster.expires.days
    left = f"{days} day{'s' * (days != 1)}" if days >= 0 else "EXPIRED"
    what = names[0] if len(names) == 1 else f"{len(names)} certificates"
    return f"{what}, {cluster.expires.at[:10]}, {left}"


def _notes(stack: Stack) -> Iterator[str]:
    if stack.error:
        yield f"{stack.name}: {stack.error}"
    for each in stack.clusters:
        named = stack.name if len(stack.clusters) == 1 else f"{stack.name}, {each.name}"
        yield from (f"{named}: {note}" for note in each.notes)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _minute(text: str) -> str:
    return text[:16].replace("T", " ") or _NOTHING

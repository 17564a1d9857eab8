"""The parts of the manual that come from the table of alerts and from the metrics of `etcd-node`."""

from collections.abc import Iterable
from itertools import groupby

from ..node.shared.metric_names import METRICS
from .alerts import ALERTS, Alert


def alert_table() -> str:
    """A row for each alert, Markdown."""
    rows = [("Alert", "Severity", "Fires when", "For", "Name and threshold")]
    rows += [
        (f"[{each.name}](alerts.md#{each.name.lower()})", each.severity, each.when, each.hold, each.source)
        for each in ALERTS
    ]
    return _table(rows)


def metric_table() -> str:
    """A row for each metric of `etcd-node`, Markdown."""
    return _table([("Metric", "Meaning"), *((f"`{name}`", text) for name, text in METRICS.items())])


def alert_sections() -> str:
    """A section for each alert, Markdown."""
    return "\n".join(_section(list(found)) for _, found in groupby(ALERTS, lambda each: each.name))


def _section(found: list[Alert]) -> str:
    last = found[-1]
    said = [
        f"**{each.severity.capitalize()}.** {each.when}, {'at once' if each.hold == '0s' else f'for {each.hold}'}."
        for each in found
    ]
    page, _, anchor = last.page.partition("#")
    more = [] if page == "alerts.md" else [f"More: [{page}]({page}#{anchor})", ""]
    words = [*said, f"**Cause.** {last.cause}", f"**Consequence.** {last.consequence}"]
    return "\n".join([f"## {last.name}", "", "\n\n".join(words), "", "```sh", *last.commands, "```", "", *more])


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    head, *rest = rows
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ("---",) * len(head), *rest))

"""A review as a comment on a pull or merge request."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..plan.quorum import quorum
from .review import CHANGES, FAILED, NOTHING, REFUSED, Moment, Review

# GitHub refuses a comment of more than 65536 characters.
_MOST_RESOURCES = 200
_FEW = 3
_BREAK = "<br>"
_HEADLINES = {FAILED: "the preview failed", REFUSED: "this change is refused", NOTHING: "nothing changes"}
_LOG = "the log of `pulumi preview`"


def marker(stack: str) -> str:
    """The invisible first line of a stack's comment, by which the next review finds the comment to replace."""
    return f"<!-- external-etcd review: {stack} -->"


def markdown(review: Review, manual: str = "", picture: str = "") -> str:
    """The comment.

    Args:
        review: the review.
        manual: address of the folder that has `docs`. Default: sections are named, without a link.
        picture: address of the picture of the steps. Default: mermaid, which the place of the comment draws.
    """
    blocks = [marker(review.stack), f"### {title(review)}"]
    if review.verdict == FAILED:
        blocks += _failed(review)
    elif review.verdict == REFUSED:
        blocks += _refused(review)
    elif review.verdict == CHANGES:
        blocks += _changes(review, manual, picture)
    blocks += _warnings(review)
    return "\n\n".join(blocks) + "\n"


def title(review: Review) -> str:
    """The change in one line."""
    return f"etcd{_named(review)}: {headline(review)}"


def _named(review: Review) -> str:
    names = ", ".join(f"`{name}`" for name in review.clusters)
    clusters = f" cluster{'s' * (len(review.clusters) > 1)} {names}" if names else ""
    return f"{clusters}, stack `{review.stack}`" if review.stack else clusters


def headline(review: Review) -> str:
    """The change in a few words."""
    if review.verdict != CHANGES:
        return _HEADLINES[review.verdict]
    if review.removed:
        are = "is" if len(review.removed) == 1 else "are"
        return f"{_count(len(review.removed), 'cluster')} {are} removed, all members stop at the same time"
    if review.all_stop or not review.known:
        return "all members stop at the same time" if review.all_stop else "not all steps are known"
    parts = [
        f"{_count(len(names), what)} {one if len(names) == 1 else more}{how}"
        for names, what, one, more, how in (
            (review.machines, "machine", "is replaced", "are replaced", ""),
            (review.joins, "member", "joins", "join", ""),
            (review.leaves, "member", "leaves", "leave", ""),
            (review.restarts, "member", "restarts", "restart", _one_at_a_time(review)),
            (review.api_servers, "API server", "restarts", "restart", ""),
        )
        if names
    ]
    if not review.steps:
        return "certificates are renewed, no member restarts" if review.renews else "no restart is announced"
    if not any(step.serving < step.voters for step in review.steps):
        parts.append("no member restarts")
    return ", ".join(parts) or "members change"


def _one_at_a_time(review: Review) -> str:
    if len(review.restarts) < 2:
        return ""
    return ", one at a time in each cluster" if len(review.clusters) > 1 else ", one at a time"


def _changes(review: Review, manual: str, picture: str) -> Iterator[str]:
    if review.overridden:
        yield "**A refusal is overridden.** Without the override, this change would be refused:"
        yield _verbatim(review.overridden)
    yield "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in _rows(review, manual))])
    if review.steps:
        texts = step_texts(review)
        steps = _count(len(review.steps), "step")
        yield f"![{steps}, listed below]({picture})" if picture else _picture(review.steps, texts)
        rows = enumerate(zip(texts, review.steps, strict=True), start=1)
        lines = [f"{number}. {text} ({_quorum(step)})" for number, (text, step) in rows]
        yield _folded(steps, lines)
    if review.resources:
        counts = ", ".join(f"{count} to {op}" for op, count in review.counts.items())
        shown = review.resources[:_MOST_RESOURCES]
        lines = [f"- {each.op} `{each.name}` (`{each.type}`)" for each in shown]
        if len(shown) < len(review.resources):
            lines.append(f"- and {len(review.resources) - len(shown)} more")
        yield _folded(f"{_count(len(review.resources), 'resource')}: {counts}", lines)


def _rows(review: Review, manual: str) -> Iterator[tuple[str, str]]:
    found = review.consequences
    few = [f"{each.op} `{each.name}` (`{each.type}`)" for each in review.resources]
    otherwise = _BREAK.join(few) if len(few) <= _FEW else "only the resources below"
    yield "What changes", _lines((each.what for each in found), otherwise)
    stops = _in_order(review.restarts, several=len(review.clusters) > 1)
    if not review.known:
        stops = f"{stops}; not all is known" if stops else "not known"
    elif not review.steps and any(each.op == "update" and each.name.endswith("-converge") for each in review.resources):
        # Taking back what a failed update has done is in no step.
        stops = "nothing, if the last update succeeded"
    gone = [f"all members of `{name}` stop for good" for name in review.removed]
    if review.all_stop and not gone:
        stops = "all members, at the same time"
    servers = ", ".join(f"`{name}`" for name in review.api_servers)
    if servers:
        gone.append(f"the API servers of {servers}, one at a time")
    yield "Restarts", _lines([*gone, *filter(None, [stops])], "nothing")
    if review.renews:
        yield "Only renews", f"{_count(len(review.renews), 'certificate')}, without a restart"
    if review.worst:
        yield "Quorum at worst", _worst(review.steps, review.worst)
    if review.slow:
        yield "Slow disks and links", "; ".join(review.slow)
    unknown = [] if review.known else ["not known"]
    # The guard announces no change of a firewall.
    unless = "unless a firewall keeps them out"
    yield "How long clients may notice it", _lines([*_noticed(review, manual), *unknown], f"not at all, {unless}")
    said = dict.fromkeys(each.clients for each in found if each.clients)
    clients = [text for text in said if not any(text in other for other in said if other != text)]
    yield "API servers and other clients", _lines([*clients, *unknown], f"nothing to do, {unless}")
    yield "Cannot be undone", _lines([*(each.what for each in found if each.final), *unknown], "nothing")
    backs = (f"{each.back} {_link(each.page, each.section, manual)}" for each in found)
    yield "Way back", _lines(backs, "Set the old values and run `pulumi up`.")


def _in_order(restarts: tuple[str, ...], *, several: bool) -> str:
    """The members that restart, numbered; those of each cluster on a line. Clusters change at the same time."""
    of: dict[str, list[str]] = {}
    for name in restarts:
        of.setdefault(name.partition("/")[0] if several else "", []).append(f"`{name}`")
    numbered = {key: ", ".join(f"{place}. {name}" for place, name in enumerate(of[key], 1)) for key in of}
    lines = [numbered[key] if len(of[key]) > 1 else of[key][0] for key in of]
    if any(len(names) > 1 for names in of.values()):
        lines[-1] += f". Each{' of a cluster' * several} only when all others{' of it' * several} are healthy"
    return _BREAK.join(lines)


def _noticed(review: Review, manual: str) -> Iterator[str]:
    for each in dict.fromkeys(each.noticed for each in review.consequences if each.noticed is not None):
        yield f"{each.text} {_links(each.sources, manual)}"


def _lines(texts: Iterable[str], otherwise: str) -> str:
    return _BREAK.join(dict.fromkeys(texts)) or otherwise


def _worst(steps: tuple[Moment, ...], worst: Moment) -> str:
    if worst.serving == worst.voters:
        if worst.tolerates:
            return f"all voters running, tolerates at least {_count(worst.tolerates, 'failure')} in every step"
        return f"all voters running, tolerates no failure {_where(steps, lambda step: not step.tolerates)}"
    running, _, failures = _quorum(worst).partition(", ")
    needed = f" (a quorum is {quorum(worst.voters)})" * (worst.voters > 0)
    same = _where(steps, lambda step: (step.voters, step.serving) == (worst.voters, worst.serving))
    return f"{running}{needed}, {failures} {same}"


def _where(steps: tuple[Moment, ...], applies: Callable[[Moment], bool]) -> str:
    found = [str(number) for number, step in enumerate(steps, start=1) if applies(step)]
    return f"in {'step' if len(found) == 1 else 'steps'} {', '.join(found)}"


def _quorum(step: Moment) -> str:
    running = f"{step.serving} of {_count(step.voters, 'voter')} running"
    if step.tolerates < 0:
        return f"{running}, **no quorum**"
    failure = "further failure" if step.serving < step.voters else "failure"
    return f"{running}, tolerates {_count(step.tolerates, failure) if step.tolerates else f'no {failure}'}"


def step_texts(review: Review) -> list[str]:
    """What happens in each step, without its number."""
    return [_text(step, several=len(review.clusters) > 1) for step in review.steps]


def _text(step: Moment, *, several: bool) -> str:
    text = step.text.replace("->", "→") or f"a step in a form that this program does not know; see {_LOG}"
    return f"{step.cluster}: {text}" if several else text


def _picture(steps: Sequence[Moment], texts: Sequence[str]) -> str:
    """The steps of each cluster from top to bottom; a filled circle is a voter that runs."""
    lines = ["```mermaid", "flowchart TD"]
    for number, (step, full) in enumerate(zip(steps, texts, strict=True), start=1):
        text = full.replace("`", "").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
        # Not `1. ...`, which mermaid takes for a list.
        lines.append(f'  s{number}["{number} · {text}<br/>{circles(step)} {tolerates(step)}"]:::{colour(step)}')
    for cluster in dict.fromkeys(step.cluster for step in steps):
        own = [f"s{number}" for number, step in enumerate(steps, start=1) if step.cluster == cluster]
        if len(own) > 1:
            lines.append("  " + " --> ".join(own))
    lines += [
        "  classDef calm fill:#dff3e3,stroke:#2e7d32,color:#111",
        "  classDef tight fill:#fff3cd,stroke:#b58900,color:#111",
        "  classDef lost fill:#f8d7da,stroke:#b02a37,color:#111",
        "```",
    ]
    return "\n".join(lines)


def circles(step: Moment) -> str:
    """A filled circle for each voter that runs, an empty one for each that does not."""
    return "●" * step.serving + "○" * (step.voters - step.serving)


def tolerates(step: Moment) -> str:
    """How many more failures, in words."""
    return _quorum(step).replace("**", "").partition(", ")[2]


def colour(step: Moment) -> str:
    """`calm` with all voters, `tight` without some, `lost` without a quorum."""
    return "lost" if step.tolerates < 0 else "calm" if step.serving == step.voters else "tight"


def _refused(review: Review) -> Iterator[str]:
    yield "Nothing was touched, and this change cannot be made in one update:"
    yield _verbatim(review.problems)
    if review.updates:
        yield "Make these updates instead, each with its own `pulumi up`:"
        yield _verbatim(f"{number}. {text}" for number, text in enumerate(review.updates, start=1))
    if review.override:
        yield f"The override is in {_LOG}. It is for a disaster."
    if review.other_errors or review.refused_keys:
        yield f"There are other errors, too, in {_LOG}."


def _failed(review: Review) -> Iterator[str]:
    yield "So nobody knows what this change would do. Correct it, and preview again."
    if review.refused_keys:
        keys = ", ".join(f"`{key}`" for key in dict.fromkeys(review.refused_keys))
        yield f"The configuration is refused: {keys}. The values, rules and remedies are in {_LOG}."
    if review.other_errors:
        errors = _count(review.other_errors, "error")
        yield f"{errors} in {_LOG}. The text is not repeated here, because it may contain secrets."
    elif not review.refused_keys:
        yield f"It did not come to its end, and names no error. See {_LOG}, and the policies that it ran with."


def _warnings(review: Review) -> Iterator[str]:
    if review.warnings:
        yield f"**{_count(len(review.warnings), 'warning')}:**"
        yield _verbatim(review.warnings)
    if review.other_warnings:
        what = "further warning" if review.warnings else "warning"
        yield f"{_count(review.other_warnings, what)} in {_LOG}."


def _verbatim(texts: Iterable[str]) -> str:
    text = "\n".join(texts)
    fence = "`" * (1 + max([2, *map(len, re.findall(r"`+", text))]))
    return f"{fence}text\n{text}\n{fence}"


def _folded(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"<details><summary>{title}</summary>", "", *lines, "", "</details>"])


def _link(page: str, section: str, manual: str) -> str:
    if not manual:
        return f"({page}, “{section}”)"
    anchor = re.sub(r"[^\w -]", "", section.lower()).replace(" ", "-")
    return f"[{section}]({manual.rstrip('/')}/{page}#{anchor})"


def _links(sources: Iterable[tuple[str, str]], manual: str) -> str:
    if manual:
        return ", ".join(_link(page, section, manual) for page, section in sources)
    return f"({', '.join(dict.fromkeys(page for page, _ in sources))})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""Draws a probe as SVG, for light and dark pages: write latency over time, and the operations meanwhile."""

import math
from xml.sax.saxutils import escape

from .probe import Records, Report, Sight

_WIDTH, _LEFT, _RIGHT, _TOP, _PLOT, _LANE = 860, 60, 20, 60, 200, 18
_LEAST, _MOST = 0.0005, 2.0
_ROW, _COLUMNS, _LETTERS = 15, 2, 66
_STEP = "#101418"
_UP, _LEADS, _DOWN, _LINE, _WRITE = "#7fb38a", "#2f6fde", "#d5513f", "#8a94a6", "#2f6fde"


def timeline(title: str, records: Records, report: Report) -> str:
    """Draw one. `title` says what was done."""
    span = max(report.seconds, 0.001)
    members = sorted({sight.member for sight in records.sights} | {step.member for step in records.steps})
    lanes = _TOP + _PLOT + 34
    steps = list(enumerate(records.steps, 1))
    rows = -(-len(steps) // _COLUMNS)
    listed = lanes + _LANE * len(members) + 42
    height = listed + _ROW * rows + (6 if rows else -8)

    def x(at: float) -> float:
        return _LEFT + min(max(at / span, 0), 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(took: float) -> float:
        part = math.log(min(max(took, _LEAST), _MOST) / _LEAST) / math.log(_MOST / _LEAST)
        return _TOP + _PLOT * (1 - part)

    parts = [
        f'<text x="10" y="22" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="10" y="42">{report.acknowledged} writes acknowledged, {report.lost} lost, {report.disordered} out '
        f"of order; longest gap {report.longest_gap * 1000:.0f} ms, watch silent at most "
        f"{report.longest_watch_silence * 1000:.0f} ms</text>",
    ]
    for took, label in ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s")):
        parts.append(f'<path d="M{_LEFT} {y(took):.1f}H{_WIDTH - _RIGHT}" stroke="{_LINE}" stroke-opacity=".35"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(took) + 4:.1f}" text-anchor="end">{label}</text>')
    # One vertical line per column, from the shortest to the longest write in it.
    columns: dict[int, tuple[float, float]] = {}
    for write in records.writes:
        took, column = write.end - write.start, round(x(write.end))
        low, high = columns.get(column, (took, took))
        columns[column] = (min(low, took), max(high, took))
    strokes = "".join(
        f"M{column} {y(low) + 1:.1f}V{y(high) - 1:.1f}" for column, (low, high) in sorted(columns.items())
    )
    parts.append(f'<path d="{strokes}" stroke="{_WRITE}" fill="none"/>')
    failed = "".join(f"M{x(at):.1f} {_TOP}v6" for at, _ in records.failed)
    parts.append(f'<path d="{failed}" stroke="{_DOWN}" fill="none"/>')
    gap = report.gap_at, report.gap_at + report.longest_gap
    parts.append(
        f'<rect x="{x(gap[0]):.1f}" y="{_TOP}" width="{max(x(gap[1]) - x(gap[0]), 1):.1f}" height="{_PLOT}" '
        f'fill="{_DOWN}" fill-opacity=".18"/>'
    )
    for at, text in records.marks:
        parts.append(f'<path d="M{x(at):.1f} {_TOP}V{listed - 38}" stroke="{_LINE}" stroke-dasharray="3 3"/>')
        anchor = "end" if x(at) > _WIDTH * 0.8 else "start"
        parts.append(
            f'<text x="{x(at) + (3 if anchor == "start" else -3):.1f}" y="{_TOP + _PLOT + 14}" font-size="11" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )
    for index, member in enumerate(members):
        top = lanes + _LANE * index
        parts.append(f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end" font-size="11">{escape(member)}</text>')
        parts += [
            f'<rect x="{x(start):.1f}" y="{top}" width="{max(x(stop) - x(start), 1):.1f}" height="12" fill="{colour}"/>'
            for start, stop, colour in _stretches([each for each in records.sights if each.member == member], span)
        ]
        free = 0.0
        for number, step in steps:
            if step.member == member:
                parts.append(f'<path d="M{x(step.at):.1f} {top}v12" stroke="{_STEP}"/>')
                left, wide = max(free, x(step.at) + 1), 6 * len(str(number)) + 2
                free = left + wide + 1
                parts.append(
                    f'<rect x="{left:.1f}" y="{top + 1}" width="{wide}" height="10" fill="#fff" fill-opacity=".8"/>'
                    f'<text x="{left + 1:.1f}" y="{top + 9}" font-size="9" fill="{_STEP}">{number}</text>'
                )
    for number, step in steps:
        column, row = divmod(number - 1, rows)
        parts.append(
            f'<text x="{10 + column * (_WIDTH - 20) // _COLUMNS}" y="{listed + _ROW * row}" font-size="11">'
            f"{escape(_short(f'{number}. {step.at:.1f} s {step.member}: {step.text}'))}</text>"
        )
    bottom = listed - 24
    parts += [
        f'<text x="{x(at):.1f}" y="{bottom}" text-anchor="middle" font-size="11">{at:g} s</text>' for at in _ticks(span)
    ]
    legend = ((_UP, "up"), (_LEADS, "leads"), (_DOWN, "down"))
    for index, (colour, text) in enumerate(legend):
        left = _WIDTH - 220 + 70 * index
        parts.append(f'<rect x="{left}" y="12" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 16}" y="22">{text}</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="#667">\n{body}\n</svg>\n'
    )


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _stretches(sights: list[Sight], span: float) -> list[tuple[float, float, str]]:
    ends = [*(each.at for each in sights[1:]), span][: len(sights)]
    return [
        (each.at, end, (_LEADS if each.leads else _UP) if each.up else _DOWN)
        for each, end in zip(sights, ends, strict=True)
    ]


def _ticks(span: float) -> list[float]:
    step = next(each for each in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if span / each <= 12)
    return [step * index for index in range(int(span / step) + 1)]

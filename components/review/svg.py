"""The steps of a change as a picture, for places that do not draw mermaid."""

import textwrap
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from .markdown import circles, colour, step_texts, title, tolerates
from .review import Moment, Review

_WIDTH = 560
"""Of one cluster's steps, in pixels. Several clusters are side by side, because they change at the same time."""
_MARGIN, _HEAD, _LINE, _GAP = 20, 24, 18, 22
_CHARACTERS = 66
"""Of a line of text that certainly fits, whatever the font is."""
_FILLS = {"calm": ("#dff3e3", "#2e7d32"), "tight": ("#fff3cd", "#b58900"), "lost": ("#f8d7da", "#b02a37")}


def svg(review: Review) -> str:
    """The picture. It has the content of the mermaid diagram, below the headline of the comment."""
    columns: dict[str, list[tuple[int, str, Moment]]] = {}
    for number, (text, step) in enumerate(zip(step_texts(review), review.steps, strict=True), start=1):
        columns.setdefault(step.cluster, []).append((number, text, step))
    width = max(len(columns), 1) * (_WIDTH + _MARGIN) + _MARGIN
    heading = textwrap.wrap(title(review).replace("`", ""), _CHARACTERS * max(len(columns), 1))
    top = _MARGIN + _HEAD * len(heading)
    parts, height = [], top
    for index, steps in enumerate(columns.values()):
        column, bottom = _column(steps, _MARGIN + index * (_WIDTH + _MARGIN), top)
        parts += column
        height = max(height, bottom)
    height += _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label={quoteattr(" ".join(heading))} font-family="sans-serif" font-size="13" fill="#111">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *(_text(_MARGIN, _MARGIN + _HEAD * row + 14, line, bold=True) for row, line in enumerate(heading)),
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _column(steps: list[tuple[int, str, Moment]], left: int, top: int) -> tuple[list[str], int]:
    """The steps of one cluster from top to bottom, and where the last one ends."""
    parts: list[str] = []
    middle, last = left + _WIDTH // 2, steps[-1][0]
    for number, text, step in steps:
        lines = textwrap.wrap(f"{number} · {text.replace('`', '')}", _CHARACTERS)
        below = top + _LINE * (len(lines) + 1) + 14
        fill, stroke = _FILLS[colour(step)]
        size = f'x="{left}" y="{top}" width="{_WIDTH}" height="{below - top}"'
        parts.append(f'<rect {size} rx="5" fill="{fill}" stroke="{stroke}"/>')
        parts += [_text(left + 12, top + 20 + _LINE * row, line) for row, line in enumerate(lines)]
        parts += _quorum(step, left + 12, below - 12)
        if number != last:
            end = below + _GAP
            parts.append(f'<path d="M{middle} {below}V{end - 7}" stroke="#555"/>')
            parts.append(f'<path d="M{middle - 4} {end - 8}h8l-4 7z" fill="#555"/>')
        top = below + _GAP
    return parts, top - _GAP


def _quorum(step: Moment, left: int, base: int) -> Iterator[str]:
    """A circle for each voter; a filled one runs."""
    shown = circles(step)
    for index, circle in enumerate(shown):
        fill = "#333" if circle == "●" else "#fff"
        yield f'<circle cx="{left + 6 + 16 * index}" cy="{base - 4}" r="5" fill="{fill}" stroke="#333"/>'
    yield _text(left + 16 * len(shown) + 4, base, tolerates(step))


def _text(left: int, base: int, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{left}" y="{base}"{weight}>{escape(text)}</text>'

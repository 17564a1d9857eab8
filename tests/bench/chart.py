"""A bar chart as SVG, for light and dark pages."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_COLOURS = ("#8a94a6", "#2f6fde", "#d98324")
_WIDTH, _BAR, _GAP = 640, 22, 18


def bar_chart(title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """Horizontal bars: one group per entry of `groups`, one bar per series in it, the value at its end.

    Args:
        title: with the unit of the values.
        series: name -> one value per group.
    """
    largest = max(max(values) for values in series.values())
    left = 20 + 7 * max(len(label) for label in groups)
    scale = (_WIDTH - left - 70) / largest
    parts = [f'<text x="10" y="24" font-size="16" font-weight="bold">{escape(title)}</text>']
    for index, name in enumerate(series):
        x = 10 + 160 * index
        parts.append(f'<rect x="{x}" y="38" width="12" height="12" fill="{_COLOURS[index]}"/>')
        parts.append(f'<text x="{x + 18}" y="49">{escape(name)}</text>')
    y = 70
    for group, label in enumerate(groups):
        parts.append(f'<text x="10" y="{y + _BAR * len(series) / 2 + 5:.0f}">{escape(label)}</text>')
        for index, values in enumerate(series.values()):
            width = values[group] * scale
            parts.append(
                f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{_BAR - 4}" rx="2" fill="{_COLOURS[index]}"/>'
                f'<text x="{left + width + 6:.1f}" y="{y + 14}">{values[group]:.1f}</text>'
            )
            y += _BAR
        y += _GAP
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" '
        f'font-family="sans-serif" font-size="13" fill="#667">\n{body}\n</svg>\n'
    )

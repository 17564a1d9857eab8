"""A picture of the dashboard: its panels, drawn from what their own queries find, by a real browser.

It is not Grafana that draws. It shows what the queries return for a cluster, and where each panel is.
"""

import html
import subprocess
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .prometheus import asked, queried

_CELL, _WIDTH = 36, 66
"""Pixels of a row and of a column of Grafana's grid."""
_COLOURS = (
    "#73bf69",
    "#f2cc0c",
    "#5794f2",
    "#ff780a",
    "#b877d9",
    "#8ab8ff",
    "#fade2a",
    "#ff9830",
    "#96d98d",
    "#ffa6b0",
)
_STYLE = """
body {margin: 0; background: #111217; color: #ccccdc; font: 12px sans-serif}
div {position: absolute; box-sizing: border-box; overflow: hidden; padding: 6px 8px}
.panel {background: #181b1f; border: 1px solid #2c2f35} .row {font-weight: bold; font-size: 14px}
b {display: block; font-size: 12px; color: #d5d5e5} svg {display: block} span {margin-right: 10px; white-space: nowrap}
.stat {font-size: 20px; color: #73bf69; display: inline-block; margin: 6px 14px 0 0}
small {color: #9a9aaa; display: block}
"""


def picture(address: str, panels: Sequence[Mapping[str, Any]], cluster: str, target: Path, *, seconds: int) -> None:
    """Write a PNG.

    Args:
        address: of the Prometheus.
        panels: of the dashboard.
        cluster: the one that is chosen.
        seconds: the range that is shown, until now.
    """
    end = time.time()
    drawn = "".join(_panel(address, panel, cluster, end - seconds, end) for panel in panels)
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * _CELL + 8
    with TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(f"<!DOCTYPE html><meta charset=utf-8><style>{_STYLE}</style>{drawn}")
        browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        browser += ["--disable-background-networking", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND"]
        options = [
            f"--user-data-dir={folder}/profile",
            f"--screenshot={target}",
            f"--window-size={24 * _WIDTH},{height}",
        ]
        subprocess.run([*browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)


def _panel(address: str, panel: Mapping[str, Any], cluster: str, start: float, end: float) -> str:
    place = panel["gridPos"]
    left, top, wide, high = (
        place[key] * size for key, size in zip("xywh", (_WIDTH, _CELL, _WIDTH, _CELL), strict=True)
    )
    style = f"left:{left + 3}px;top:{top + 3}px;width:{wide - 6}px;height:{high - 6}px"
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        return f'<div class=row style="{style}">{title}</div>'
    series: list[tuple[str, list[tuple[float, float]]]] = []
    for query in panel["targets"]:
        expression = query["expr"].replace("$cluster", cluster).replace("$__rate_interval", "10s")
        if panel["type"] == "stat":
            found = [{**row, "values": [row["value"]]} for row in queried(address, expression)]
        else:
            words = {"query": expression, "start": start, "end": end, "step": 1}
            found = asked(address, f"query_range?{urllib.parse.urlencode(words)}")["result"]
        for row in found:
            values = [(float(at), float(value)) for at, value in row["values"] if value not in ("NaN", "+Inf")]
            series.append((_legend(query["legendFormat"], row["metric"]), values))
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] == "stat":
        shown = [
            f"<span class=stat>{_shown(values[-1][1], unit)}<small>{html.escape(name)}</small></span>"
            for name, values in series
            if values
        ]
        return f'<div class=panel style="{style}"><b>{title}</b>{"".join(shown)}</div>'
    graph = _graph(series, unit, (start, end), (wide - 24, high - 78))
    return f'<div class=panel style="{style}"><b>{title}</b>{graph}</div>'


def _graph(
    series: Sequence[tuple[str, list[tuple[float, float]]]], unit: str, span: tuple[float, float], size: tuple[int, int]
) -> str:
    (start, end), (wide, high) = span, size
    most = max((value for _, values in series for _, value in values), default=0) or 1
    lines, legend = [], []
    for (name, values), colour in zip(series, _COLOURS * 5, strict=False):
        points = " ".join(
            f"{wide * (at - start) / (end - start):.1f},{high - (high - 4) * value / most:.1f}" for at, value in values
        )
        lines.append(f'<polyline points="{points}" fill=none stroke="{colour}" stroke-width=1.3 />')
        legend.append(f'<span style="color:{colour}">{html.escape(name)}</span>')
    axis = f'<text x=2 y=12 fill="#9a9aaa" font-size=11>{_shown(most, unit)}</text>'
    return f"<svg width={wide} height={high}>{axis}{''.join(lines)}</svg>{''.join(legend)}"


def _legend(text: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return "" if text == "__auto" else text


def _shown(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    steps = {
        "s": ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")),
        "bytes": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")),
        "Bps": ((1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")),
    }.get(unit, ())
    for size, name in steps:
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g}{' /s' if unit in ('reqps', 'ops') else ''}"

"""Measures the time of a test run, per file and per kind of work. `make test` prints it at its end.

A pytest plugin, loaded by tests/conftest.py: with `--spent=FILE` each pytest run adds its figures to that file.
"""

import contextlib
import functools
import json
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, Machine
from lab.clouds import CloudMachine

from . import forks

ENGINE, MACHINES, COMMANDS, WAITING = "engine runs", "machines booted", "commands on machines", "waiting"
KINDS = (ENGINE, MACHINES, COMMANDS, WAITING)
_FILES = 25
Sums = defaultdict[str, float]
_spent: Sums = defaultdict(float)
_within: list[str] = []
_last: dict[str, float] = {}


@contextlib.contextmanager
def spending(kind: str, number: int = 1) -> Iterator[None]:
    """Count `number` events of a kind, and the seconds of the block unless an outer block counts them.

    Only the main thread counts, because a test does not wait for the others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _spent[kind] += number
    _within.append(kind)
    start = time.monotonic()
    try:
        yield
    finally:
        _within.pop()
        if not _within:
            _spent[f"{kind}: s"] += time.monotonic() - start


def _count(owner: Any, name: str, kind: str, number: Callable[..., int]) -> None:
    """Count each call of `owner.name` as `number(arguments)` events of a kind."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def counted(*arguments: Any, **options: Any) -> Any:
        with spending(kind, number(*arguments)):
            return original(*arguments, **options)

    setattr(owner, name, counted)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pytest hook."""
    parser.addoption("--spent", metavar="FILE", help="add the time spent to FILE, a JSON object per line")


def pytest_configure(config: pytest.Config) -> None:
    """Pytest hook: from here on the lab counts."""
    if config.getoption("--spent"):
        _count(Lab, "_boot", MACHINES, lambda _, machines: len(machines))
        for name in ("up", "start", "stop", "kill", "wipe"):
            _count(Lab, name, MACHINES, lambda *_: 0)
        _count(Machine, "run", COMMANDS, lambda *_: 1)
        _count(CloudMachine, "run", COMMANDS, lambda *_: 1)
        _count(time, "sleep", WAITING, lambda *_: 1)
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(_Sums(Path(config.getoption("--spent"))))


def _now() -> dict[str, float]:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {**_spent, "cpu: s": sum(each.ru_utime + each.ru_stime for each in used) + forks.cpu_seconds()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Pytest hook: the figures of a test's phase travel with its report, also from another process."""
    report = yield
    now = _now()
    vars(report)["spent"] = {kind: now[kind] - _last.get(kind, 0) for kind in now}
    _last.update(now)
    return report


class _Sums:
    """The sums of a pytest run, by file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, Sums] = defaultdict(lambda: defaultdict(float))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = self._files[report.nodeid.split("::", maxsplit=1)[0]]
        _add(file, {"s": report.duration, **vars(report).get("spent", {})})

    def pytest_sessionfinish(self) -> None:
        with self._path.open("a") as out:
            out.write(json.dumps(self._files) + "\n")


def table(path: Path) -> Iterator[str]:
    """The lines of the report on the file that `--spent` wrote: the most expensive files, the rest, and the total."""
    files: dict[str, Sums] = defaultdict(lambda: defaultdict(float))
    for line in path.read_text().splitlines():
        for name, sums in json.loads(line).items():
            _add(files[name], sums)
    kinds = "".join(f"{kind:>23}" for kind in KINDS)
    yield f"{'seconds':>8}{'cpu':>6}{kinds}  (a number, and the seconds that tests waited for it)"
    dear = sorted(files, key=lambda name: -files[name]["s"])
    for name in dear[:_FILES]:
        yield _row(files[name], name)
    rest = _sum(files[name] for name in dear[_FILES:])
    yield _row(rest, f"{len(dear[_FILES:])} other files")
    yield _row(_sum(files.values()), "total over all workers")


def _add(sums: Sums, more: Mapping[str, float]) -> None:
    for key, value in more.items():
        sums[key] += value


def _sum(rows: Iterable[Sums]) -> Sums:
    total: Sums = defaultdict(float)
    for row in rows:
        _add(total, row)
    return total


def _row(sums: Sums, name: str) -> str:
    kinds = "".join(f"{sums[kind]:12.0f} {sums[f'{kind}: s']:8.0f} s" for kind in KINDS)
    return f"{sums['s']:8.0f}{sums['cpu: s']:6.0f}{kinds}  {name}"

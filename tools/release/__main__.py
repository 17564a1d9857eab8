"""`python -m tools.release [v0.1.0] [--to DIRECTORY]`: builds a release from its tag, or a trial without one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.base import REPOSITORY, ToolError, say
from tools.release.build import build
from tools.release.checks import check
from tools.release.source import of_tag, of_working_tree


def main(arguments: list[str]) -> int:
    """Build; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("tag", nargs="?", default="", help="such as v0.1.0; without it, the working tree is built")
    parser.add_argument("--to", type=Path, default=REPOSITORY / "dist", metavar="DIRECTORY", help="default: dist")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.tag:
            check(REPOSITORY, chosen.tag)
            source = of_tag(REPOSITORY, chosen.tag)
        else:
            source = of_working_tree(REPOSITORY)
            say(f"{source.version} is not a release: it is made from the working tree, and nothing was checked")
        folder = build(source, chosen.to)
    except ToolError as error:
        print(f"tools release: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

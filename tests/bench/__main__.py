"""`make bench`: how long deployments take. Arguments name parts, as `changes`; without any, all are run."""

import sys

from . import changes, creation, hetzner

PARTS = {"creation": creation.main, "changes": changes.main, "hetzner": hetzner.main}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()

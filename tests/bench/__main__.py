"""`make bench`: how long deployments take. Arguments name parts, as `changes`; without any, all are run."""

import sys

from tests.support.stacks import Stack

from . import changes, clouds, creation

PARTS = {"creation": creation.main, "changes": changes.main, "clouds": clouds.main}

if __name__ == "__main__":
    Stack.quick = False
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()

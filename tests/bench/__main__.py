"""`make bench` measures deployments. Arguments select parts, such as `changes`; the default is all."""

import sys

from tests.support.stacks import Stack

from . import changes, clouds, creation, kubernetes, migration, monitoring, snapshots

PARTS = {
    "creation": creation.main,
    "changes": changes.main,
    "clouds": clouds.main,
    "kubernetes": kubernetes.main,
    "migration": migration.main,
    "snapshots": snapshots.main,
    "monitoring": monitoring.main,
}

if __name__ == "__main__":
    Stack.quick = False
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()

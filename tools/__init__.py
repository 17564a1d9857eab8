"""Installs what the project needs: Pulumi, etcd, Kubernetes, a virtual environment and Debian packages.

Run `python3 -m tools NAME` from the root of the repository. Standard library only.
"""

import sys

if sys.version_info < (3, 11):  # Reported here, because the other modules do not load with an older Python.
    sys.exit(f"Python {sys.version.split()[0]} is too old: the project needs Python 3.11 or newer as python3 on PATH.")

"""How a computer gets what the project runs with: Pulumi, etcd, kubeadm, a virtual environment and Debian packages.

Run as `python3 -m tools NAME` from the root of the repository. Standard library only, nothing installed before.
"""

import sys

if sys.version_info < (3, 11):  # This is the place that tells it to an older Python.
    sys.exit(f"Python {sys.version.split()[0]} is too old: the project needs Python 3.11 or newer as python3 on PATH.")

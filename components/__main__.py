"""`python -m external_etcd`: the command `external-etcd`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

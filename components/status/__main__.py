"""`python -m external_etcd.status`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["status", *sys.argv[1:]]))

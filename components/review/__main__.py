"""`python -m external_etcd.review`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["review", *sys.argv[1:]]))

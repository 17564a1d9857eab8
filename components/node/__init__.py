"""etcd-node: the program that runs on every machine of a cluster (standard library only, Python 3.9 or later)."""

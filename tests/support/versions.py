"""The etcd releases that tests run on: the newest patch of every supported minor."""

ETCD_VERSIONS = ("3.5.35", "3.6.16", "3.7.3")
DEFAULT_ETCD = "3.6.16"

"""Etcd's interfaces and formats.

etcd.py      ask a member: readiness, status, member list, etcdctl
gateway.py   etcdctl's commands without a process
metrics.py   what a member counts
exposition.py  Prometheus' text format
x509.py      fingerprints and validity of certificates
wal.py       whose data a log holds
snapshot_file.py  what a snapshot file says about itself
versions.py  which versions can run together
"""

"""The machine around etcd.

fitness.py         systemd, first boot, memory, address
time_service.py    whether the clock is right
account.py         the user that etcd runs as
pod_process.py     etcd's process, when it runs in a pod
ports.py           who listens on etcd's ports
network.py         connections between members, tested before they are needed
measured.py        how fast the disk and the links to other members are
nftables.py        access to etcd: an nftables table
nftables_watch.py  reload it when it was flushed
metadata.py        the cloud's metadata, for root alone
"""

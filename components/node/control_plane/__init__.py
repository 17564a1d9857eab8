"""A control plane during a migration from stacked etcd.

plan.py            the desired phase of this control plane, as it arrives
manifest.py        the flags for etcd in the API server's manifest: an edit of text
configuration.py   etcd in kubeadm's ClusterConfiguration: an edit of text
stacked_flags.py   which flags of a stacked member the external ones must match
places.py          where kubeadm keeps what, and where its old files are kept
listed.py          whether all control planes and members are listed
api_server.py      ask this machine's API server, and wait until it runs with other flags
"""

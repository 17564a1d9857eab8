"""What an operator or `pulumi up` asks for: one module per verb, and no verb calls another.

prepare.py    check the machine and install what a member needs
bootstrap.py  permit the start of a cluster that has never existed
find.py       which snapshot in the store a restore takes
stage.py      restore a snapshot beside the data
restore.py    put the restored data in place, and start etcd with them
converge.py   bring the member to its desired configuration
health.py     examine the whole cluster
snapshot.py   take a snapshot, and keep it elsewhere
drill.py      prove that the newest one can be restored
status.py     show the state to a person on the machine
drift.py      say what differs from what was installed
top.py        show the cluster at work on one screen
metrics.py    the same as numbers, for Prometheus
space.py      defragment this member, recover from a full database, and both without being asked
drain.py      check that another member's machine can be replaced
retire.py     remove the member from the machine
reach.py      check that a control plane reaches the machines of the external members
inspect.py    check whether a control plane can be migrated from its stacked etcd
authority.py  print the CA of a stacked etcd
switch.py     an API server uses the external members, or its stacked member again
leave.py      a control plane has no etcd any more, and kubeadm knows
back.py       the external members leave the stacked cluster again
retire_plane.py  remove this program from a control plane
"""

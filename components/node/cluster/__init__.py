"""The cluster as a whole, and what this program stores in etcd itself.

quorum_rules.py  which voters may stop, leave or lead: pure rules
quorum_gate.py   ask every voter, and wait until a rule allows the step
leadership.py    hand it over before a member stops or leaves
space.py         when the file of a database is worth a defragmentation: pure rules
membership.py    add, promote and remove, retried until etcd accepts it
health.py        what is wrong with the whole cluster
lease.py         a key with one holder, for a limited time
claim.py         one operator at a time changes the cluster
one_restart.py   one member at a time restarts
disruption.py    one machine at a time is released for replacement
roster.py        which members are this program's
marker.py        which cluster this is, in every snapshot
rotation.py      replace a CA in phases
users.py         etcd's authentication: users, roles, keys
"""

"""What the members agree on, and what this program keeps in etcd itself.

quorum_rules.py  who may stop, leave or lead, by rules alone
gate.py          ask every voter, and wait until a rule allows the step
leadership.py    hand it over before a member stops or leaves
membership.py    add, promote and remove, tried until etcd takes it
health.py        what is wrong with the whole cluster
lease.py         a key that one holder has, for a time
claim.py         one operator at a time changes the cluster
disruption.py    one machine at a time may go
roster.py        which members are this program's
rotation.py      replace a CA in phases
users.py         etcd's authentication: users, roles, keys
"""

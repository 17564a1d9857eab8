"""What another version of etcd needs before, during and after a restart.

preflight.py    what must hold, and what is done once, before a version changes
v2store.py      data of API v2, which 3.6 cannot read
old_entries.py  log entries of 3.5, which 3.7 cannot read
downgrade.py    back by one minor version
rollback.py     a start that failed is undone
"""

"""What a machine holds for its member: whose data, where, and copies of them.

identity.py   which member of which cluster, and what was made here
directory.py  the data directory: its place, its room, its owner
disk.py       a disk of its own for it
snapshot.py   a verified copy before the version changes
"""

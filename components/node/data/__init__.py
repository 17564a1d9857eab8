"""The data that a machine holds for its member: owner, place and snapshots.

identity.py   which member of which cluster, and what was created here
permission.py whether it may begin without data, with a new cluster
directory.py  the data directory: its place, its room, its owner
disk.py       a disk of its own for it
snapshot.py   a verified copy before the version changes
restored.py   data restored from a snapshot: beside the member's, and in their place
"""

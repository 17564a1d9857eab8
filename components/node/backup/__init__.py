"""Snapshots that are kept elsewhere, encrypted for people who are not on any machine.

settings.py   root's files and the timer, as the configuration says
turn.py       one member at a time takes one, and the cluster remembers the last
archive.py    take, verify, compress, encrypt
store.py      copy, read back, list and delete in the destination
retrieve.py   read, decrypt, decompress and verify one of them
stored.py     the one from which the cluster is restored
retention.py  which ones are kept: pure rules
drill_key.py  a key for one snapshot, which its machine has for a while
drill_unit.py the timer of the drill, and how the last one ended
scratch.py    restore a snapshot into an etcd of its own, ask it, and end it
proof.py      what a drill compares, and the last one that the cluster remembers
programs.py   download, check and unpack rclone and age
"""

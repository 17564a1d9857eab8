"""Snapshots that are kept elsewhere, encrypted for people who are not on any machine.

settings.py   root's files and the timer, as the configuration says
turn.py       one member at a time takes one, and the cluster remembers the last
archive.py    take, verify, compress, encrypt
store.py      copy, read back, list and delete in the destination
retrieve.py   read, decrypt, decompress and verify one of them
stored.py     the one from which the cluster is restored
retention.py  which ones are kept: pure rules
programs.py   download, check and unpack rclone and age
"""

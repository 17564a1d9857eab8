"""Policies for Pulumi programs that use external-etcd.

pack.py: all policies, and how Pulumi gets them
access.py: who may connect to etcd, its metrics and ssh
data.py: volumes and snapshots
machines.py: the metadata service, the firewall of public servers
certificates.py: lifetimes
members.py: the number of members, one machine per update
rule.py: what all policies have in common
"""

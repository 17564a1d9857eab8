"""etcd-node: the program that runs on every machine of a cluster (standard library only, Python 3.9 or later).

Its parts in reading order; the index of each is its own docstring. A folder imports from those below it and never
from one above it (docs/decisions/layout.md).

    cli.py     the command line: which verb runs
    install.py the first installation of this program on the machine's disk
    verbs/     what an operator or `pulumi up` asks for
    steps/     what `converge` does to this member, one step at a time
    upgrade/   what another version of etcd needs
    control_plane/ a control plane during a migration: manifest, configuration, API server
    backup/    snapshots that are kept elsewhere: timer, turns, encryption, store
    cluster/   the cluster as a whole: gates, leadership, membership, claims, users, CAs
    data/      the data: owner, place and snapshots
    service/   etcd as a service: release, certificates, unit, start and stop
    machine/   the machine around etcd: account, clock, ports, network, firewall
    protocol/  etcd's interfaces and formats: API, certificates, log, versions
    shared/    what every folder uses: errors, progress, files, commands, paths, the specification
"""

"""etcd-node: the program that runs on every machine of a cluster (standard library only, Python 3.9 or later).

Its folders in reading order. Each imports from itself and from those below it, never from one above:

    cli.py      the command line: which verb runs, for how long at most
    verbs/      what an operator or `pulumi up` asks for: one module per verb
    upgrade/    what another version of etcd needs before, during and after a restart
    cluster/    what the members agree on: who may stop, who is changing the cluster, who joined, users, CAs
    data/       whose data a machine holds, the disk that they are on, copies of them
    service/    etcd as a service of this machine: release, unit, certificates, start and stop
    machine/    the machine around etcd: account, network, firewall, ports, metadata
    protocol/   how etcd speaks and writes: its API, certificates, log and versions
    shared/     what every folder uses: errors, progress and time limits, files, commands, paths, the specification
"""

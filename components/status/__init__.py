"""`external-etcd status`: all clusters of the stacks of a project, or of a whole backend, in one table.

    cli.py       the command line
    table.py     the facts as a table
    facts.py     what the outputs of a stack mean at this time: expiry, what the next update does, conditions
    clusters.py  clusters in the outputs of any program, by their form
    backend.py   what is read with the Pulumi CLI

It reads lists, outputs and histories of stacks, without secrets, and no machine. Outputs of any program may contain
anything. So nothing is copied from them but names, numbers and times of a known form. Only the standard library is
used.
"""

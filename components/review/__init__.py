"""`external-etcd review`: a comment on a change, from `pulumi preview --json`, for people who review it.

    cli.py        the command line
    markdown.py   a review as a comment
    svg.py        the steps as a picture, for places that do not draw mermaid
    review.py     what a preview means: who notices, what restarts, what cannot be undone
    consequences.py  one kind of change each: for whom, the way back, its section in the manual
    measured.py   how long clients notice it, with the source of each figure
    preview.py    what is read from a preview
    announced.py  every line that the guard announces, by its form

A preview contains the whole configuration, and messages of any program. So nothing is copied from it but what has the
form of a known line, or is the name of a resource. Only the standard library is used.
"""

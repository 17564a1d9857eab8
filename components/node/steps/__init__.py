"""What `converge` does to this member: it looks, and takes one step at a time. And what gives a database room.

look.py       what is there, and what of it differs
drift.py      what differs from what was installed
next_step.py  which step is next, decided by rules alone
begin.py      a member without data, with a new cluster
start.py      a member that has data
restart.py    a member whose running settings differ
join.py       a member without data, as a learner
migration.py  what a join to a stacked cluster needs first
promote.py    a learner, to a voter
remove.py     the members that an edit removed from the list
defragment.py one member's database, when all members are healthy
recover_space.py a full database: compact, defragment all members, disarm the alarm
"""

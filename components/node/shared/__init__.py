"""What every folder uses.

errors.py  the one error that people see
say.py     progress, and the clock that bounds a verb
run.py     other programs, with a time limit
files.py   atomic writes, owners and modes
written.py what was written, and what others have changed of it
paths.py   where things are on a machine
lock.py    one verb at a time
limits.py  how long a verb may take, and who ends it
metric_names.py  names of this program's metrics
backup.py  the desired snapshots, as they arrive
spec.py    the desired configuration, as it arrives
"""

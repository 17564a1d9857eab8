"""etcd as a service of this machine: what is installed, how it starts, how it stops.

mirror.py        fetch from a release mirror
release.py       download, check and unpack a release
certificates.py  certificates and keys, as files
client_certificates.py  when the certificates of clients expire
unit.py          the unit's text: flags, limits, permission to begin
systemd.py       start, stop and look at the unit
static_pod.py    the pod's text, with the same flags and permission
kubelet.py       start, stop and look at the pod
kubelet_host.py  the kubelet and its container runtime, as service manager of etcd
image.py         get, check and remove etcd's image
registry.py      pull etcd's image by its digest
manager.py       systemd or the kubelet: whichever runs etcd here
rehearsal.py     try unit, program and directories before they are needed
maintenance.py   the timer for what is done without being asked
metrics_timer.py  timer and socket of the machine's own metrics
conflicts.py     conflicting software and settings of others
member.py        start this member's etcd, and wait for it
"""

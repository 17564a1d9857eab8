"""Links with a real delay, where the kernel has no netem: `python -m tests.support.delayed_links MS...` prints JSON.

It must run as root in a network namespace of its own (`unshare --net`). Every other address of its tunnel leads back to
this computer, after the delay: the proxy exchanges source and destination of each packet, which keeps the checksums. So
a connection to 10.9.0.(2 + N) takes the N-th round trip, and the kernel sees it like any other.
"""

import fcntl
import heapq
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from components.node.machine import network
from tests.unit.node_support import a_spec

_OWN = "10.9.0.1"
_ROUNDS = 5
_TUNNEL, _NAME = 0x1001, "slow"  # packets of IP, without a header
_TUNSETIFF = 0x400454CA


def _open() -> int:
    tunnel = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tunnel, _TUNSETIFF, struct.pack("16sH", _NAME.encode(), _TUNNEL))
    for line in (f"addr add {_OWN}/24 dev {_NAME}", f"link set {_NAME} up", "link set lo up"):
        subprocess.run(["ip", *line.split()], check=True)
    return tunnel


def _forward(tunnel: int, trips: Sequence[float]) -> None:
    """Each packet back to this computer, half a round trip (in ms) later."""
    waiting: list[tuple[float, bytes]] = []
    while True:
        pause = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
        if select.select([tunnel], [], [], pause)[0]:
            packet = os.read(tunnel, 1 << 16)
            if packet[0] >> 4 == 4:  # neither IPv6 nor anything else
                source, destination = packet[12:16], packet[16:20]
                other = max(source[3], destination[3]) - 2
                if other < len(trips):
                    back = packet[:12] + destination + source + packet[20:]
                    heapq.heappush(waiting, (time.monotonic() + trips[other] / 2000, back))
        while waiting and waiting[0][0] <= time.monotonic():
            os.write(tunnel, heapq.heappop(waiting)[1])


def measure(trips: Sequence[float]) -> list[float]:
    """What the program measures for links with these round trips, in ms."""
    threading.Thread(target=_forward, args=(_open(), trips), daemon=True).start()
    others = {f"etcd-{number}": f"10.9.0.{number}" for number in range(2, 2 + len(trips))}
    spec = a_spec(member="etcd-1", members={"etcd-1": _OWN, **others})
    listeners = [socket.create_server(("", port), backlog=64) for port in (spec.client_port, spec.peer_port)]
    # A busy computer makes a link longer, never shorter.
    rounds = [network.round_trips(spec) for _ in range(_ROUNDS)]
    for each in listeners:
        each.close()
    return [min(found[name] for found in rounds) for name in others]


if __name__ == "__main__":
    print(json.dumps(measure([float(word) for word in sys.argv[1:]])))

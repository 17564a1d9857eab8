"""The lab's release mirror: a small HTTP server for the machines, which have no route out.

Runs as a separate program: `mirror.py ADDRESS PORT DIRECTORY`.
"""

import functools
import http.server
import sys


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main(argv: list[str]) -> int:
    """Serve until killed. Returns 1 if it cannot listen on the address."""
    address, port, directory = argv
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
    try:
        server = _Server((address, int(port)), handler)
    except OSError as error:
        print(f"mirror: cannot listen on {address}:{port}: {error.strerror}", flush=True)
        return 1
    with server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Serves an emulated cloud's API until killed, for a client object in another process."""

import ipaddress
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server


class Handler(WSGIRequestHandler):
    """Sends without delay: otherwise the kernel holds each body until the client has acknowledged the head."""

    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"


def serve(home: Path, public: ipaddress.IPv4Network, application: Any, base: str = "", **told: str) -> None:
    """Serve a WSGI application on loopback.

    Args:
        home: Directory for the files that the client object reads: public range, endpoint, and each of `told`.
        base: The path of the endpoint.
    """
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    for name, text in {"public": public, **told, "endpoint": f"http://127.0.0.1:{server.server_port}{base}"}.items():
        new = home / f"{name}.new"
        new.touch(mode=0o600)
        new.write_text(f"{text}\n")
        new.replace(home / name)
    server.serve_forever()

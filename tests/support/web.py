"""A web server of a test, in a thread of this process."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def served_by(handler: type[BaseHTTPRequestHandler], address: str = "127.0.0.1", **options: str) -> Iterator[str]:
    """Serve on a free port of this address, without a log; yields the URL, without a slash at its end.

    Args:
        options: for the handler.
    """
    quiet = type("Quiet", (handler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer((address, 0), functools.partial(quiet, **options)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://{address}:{server.server_port}"
        finally:
            server.shutdown()

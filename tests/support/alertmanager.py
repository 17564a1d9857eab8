"""A real Alertmanager on this computer, and the webhook to which it delivers."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.prometheus import ensure_alertmanager

from .prometheus import free_port
from .web import served_by

Delivered = set[tuple[str, str, str]]
"""Name, severity and status (`firing`, `resolved`) of alerts."""
_TEMPLATES = (
    "mount -t tmpfs none /usr/share && mkdir -p /usr/share/prometheus/alertmanager && "
    "touch /usr/share/prometheus/alertmanager/default.tmpl /usr/share/prometheus/alertmanager/email.tmpl && "
    'exec "$0" "$@"'
)
"""Debian's program reads its templates from there, and the package may not be installed. A webhook needs none."""


@contextlib.contextmanager
def alertmanager() -> Iterator[tuple[str, Delivered]]:
    """A part of Prometheus' configuration that sends alerts to an Alertmanager, and what its webhook has received."""
    program, address = ensure_alertmanager() / "prometheus-alertmanager", f"127.0.0.1:{free_port()}"
    with _webhook() as (url, delivered), TemporaryDirectory() as folder:
        file = Path(folder, "alertmanager.yml")
        route = {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        receiver = {"name": "test", "webhook_configs": [{"url": url, "send_resolved": True}]}
        file.write_text(json.dumps({"route": route, "receivers": [receiver]}))
        options = [f"--config.file={file}", f"--storage.path={folder}", f"--web.listen-address={address}"]
        command = ["unshare", "--mount", "sh", "-c", _TEMPLATES, str(program), *options, "--cluster.listen-address="]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n", delivered
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _webhook() -> Iterator[tuple[str, Delivered]]:
    delivered: Delivered = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for each in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
                delivered.add((each["labels"]["alertname"], each["labels"]["severity"], each["status"]))
            self.send_response(200)
            self.end_headers()

    with served_by(Handler) as url:
        yield url, delivered

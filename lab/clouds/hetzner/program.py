"""The emulator as a program: `python3 -m lab.clouds.hetzner.program DIR`, started by `HetznerCloud.start`."""

import sys
from pathlib import Path

from ...lab import Lab
from . import machines, networks
from .core import Cloud
from .web import PREFIX, Server


def main(argv: list[str]) -> int:
    """Serve the account in the lab's directory `argv[0]` until killed."""
    lab = Lab(argv[0])
    home = lab.dir / "hetzner"
    cloud = Cloud(lab)
    with cloud.change():
        machines.bridge_public(cloud)
        for network in cloud.rows("networks"):
            networks.connect(cloud, network)
        machines.filter_all(cloud)
    known = home / "port"
    token = (home / "token").read_text().strip()
    server = Server(cloud, token, int(known.read_text()) if known.exists() else 0)
    known.write_text(f"{server.server_port}\n")
    _write(home / "endpoint", f"http://127.0.0.1:{server.server_port}{PREFIX}\n")
    with server:
        server.serve_forever()
    return 0


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The emulator as a program: `python3 -m lab.clouds.hetzner.program DIR`, started by `HetznerCloud.start`."""

import secrets
import sys

from ...lab import Lab
from ..serving import serve
from .core import Cloud
from .lab_machines import LabMachines
from .web import PREFIX, api


def main(argv: list[str]) -> int:
    """Serve the account in the lab's directory `argv[0]` until killed."""
    lab = Lab(argv[0])
    machines = LabMachines(lab)
    token = secrets.token_hex(32)  # clients expect this length
    serve(lab.dir / "hetzner", machines.public, api(Cloud(machines), token), PREFIX, token=token)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

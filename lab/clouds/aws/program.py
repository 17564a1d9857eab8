"""The emulator as a program: `python3 -m lab.clouds.aws.program DIR`, started by `AwsCloud.start`."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from ...lab import Lab
from ..serving import serve

# moto reads these when it is imported.
for _name in ("EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "ENABLE_AMI_VALIDATION", "EC2_LOAD_DEFAULT_AMIS"):
    os.environ[f"MOTO_{_name}"] = "true"

RESET = "/moto-api/reset"  # moto's path


def main(argv: list[str]) -> int:
    """Serve the account in the lab's directory `argv[0]` until killed."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415

    from . import hooks  # noqa: PLC0415
    from .account import Account  # noqa: PLC0415
    from .network import Networks  # noqa: PLC0415

    lab = Lab(argv[0])
    account = Account(lab)
    hooks.install(account)
    networks = Networks(account)
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with account.lock:
            for server in account.servers.values():
                server.notice()
            if environ["PATH_INFO"] == RESET:
                account.empty()
            answer = list(moto(environ, start_response))
            networks.settle()
        return answer

    serve(lab.dir / "aws", account.public, application)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

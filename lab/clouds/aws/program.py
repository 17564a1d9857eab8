"""The emulator as a program: `python3 -m lab.clouds.aws.program DIR`, started by `AwsCloud.start`."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...lab import Lab

# moto looks at these when it is imported.
for _name in ("EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "ENABLE_AMI_VALIDATION", "EC2_LOAD_DEFAULT_AMIS"):
    os.environ[f"MOTO_{_name}"] = "true"

RESET = "/moto-api/reset"  # what moto calls it


def main(argv: list[str]) -> int:
    """Serve the account in the lab's directory `argv[0]` until killed."""
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

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

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    home = lab.dir / "aws"
    _write(home / "public", f"{account.public}\n")
    _write(home / "endpoint", f"http://127.0.0.1:{server.server_port}\n")
    server.serve_forever()
    return 0


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

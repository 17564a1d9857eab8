"""Who runs this program. etcd-node names them in its messages to other operators whom it refuses meanwhile."""

import getpass
import re
import secrets
import socket


def new_operator() -> dict[str, str]:
    """A new operator: `id`, 16 hex digits, and `by`, user@host of this computer."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user number has no name
        user = "unknown"
    # It becomes an argument of commands on the machines.
    by = re.sub(r"[^A-Za-z0-9._@-]+", "-", f"{user}@{socket.gethostname()}")
    return {"id": secrets.token_hex(8), "by": by[:200]}

"""Who runs this program, for those whom etcd-node turns away meanwhile."""

import getpass
import re
import secrets
import socket


def new_operator() -> dict[str, str]:
    """An operator that did not exist before: `id`, 16 hex digits, and `by`, user@host of whoever makes it."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user number has no name
        user = "unknown"
    # It becomes a word of a command on the machines.
    by = re.sub(r"[^A-Za-z0-9._@-]+", "-", f"{user}@{socket.gethostname()}")
    return {"id": secrets.token_hex(8), "by": by[:200]}

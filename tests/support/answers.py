"""What machines answer to the commands of the components, for tests without machines."""

import json

LOGIN = "printed by the shell of the login"
"""Precedes every answer, except that about sftp."""
SFTP = "\nexternal-etcd: answer\n/usr/lib/openssh/sftp-server\n\nexternal-etcd: done"
"""The standard output of a login through which sftp works."""

STAGED = json.dumps({"begun": False, "data": True, "quorum": True})
"""What a machine that has its data answers when a snapshot is restored beside them."""


def marked(name: str, said: str) -> str:
    """The standard output of the command with that name, with its answer."""
    return f"{LOGIN}\nexternal-etcd: answer\n{said}\n\nexternal-etcd: done"


def health(create: str) -> str:
    """The output of the health check for the members of its specification."""
    members = json.loads(create[create.index("{") : create.rindex("}") + 1])["members"]
    rows = [
        {
            "name": name,
            "id": str(number),
            "endpoint": f"https://{address}:2379",
            "version": "3.6.16",
            "role": "follower" if number > 1 else "leader",
            "db_size_bytes": 20480,
        }
        for number, (name, address) in enumerate(members.items(), start=1)
    ]
    report = {"cluster_id": "cafe", "leader": rows[0]["name"], "version": "3.6.16", "members": rows}
    return json.dumps({"checked": 1793268000, **report})

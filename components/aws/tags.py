"""Tags: whose a thing is, and the name under which the console shows it."""

from collections.abc import Mapping


def tags(cluster: str, further: Mapping[str, str], name: str, **own: str) -> dict[str, str]:
    """The tags of one thing.

    Args:
        cluster: name of the cluster.
        further: the user's.
        name: what the console shows.
        own: `member` or `role`, where it has one.
    """
    return {**further, "etcd": "true", "cluster": cluster, "Name": name, **own}

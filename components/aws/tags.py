"""Tags of AWS resources: the cluster, and the name in the console."""

from collections.abc import Mapping


def tags(cluster: str, further: Mapping[str, str], name: str, **own: str) -> dict[str, str]:
    """The tags of one resource.

    Args:
        further: the user's tags.
        name: its name in the console.
        own: `member` or `role`, if any.
    """
    return {**further, "etcd": "true", "cluster": cluster, "Name": name, **own}

"""find: which snapshot in the store the cluster is restored from; nothing on this machine changes but its way there."""

from __future__ import annotations

from ..backup import stored
from ..data import identity, restored
from ..shared.spec import Bundle, Spec


def find(spec: Spec, bundle: Bundle) -> str:
    """Returns the name of the snapshot. If this restore has begun here, it is the one with which it began.

    Raises:
        NodeError: there is none, or the store cannot be asked.
    """
    assert spec.restore is not None and spec.backup is not None  # noqa: S101  the program passes both
    identity.refuse_another(identity.load(), spec)
    begun = restored.mark(spec, spec.restore).source
    if begun:
        return begun
    stored.configure(spec.backup, bundle.store)
    return stored.find(spec, spec.restore, spec.backup)

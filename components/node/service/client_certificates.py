"""When the certificates of clients expire: the present ones, and earlier ones that clients may still have.

`pulumi up` renews them, but only their owners can put them in place. Which one a client has cannot be seen here: etcd
neither logs nor counts accepted certificates, and TLS 1.3 encrypts them. So nothing here says that a client was left
out, only until when it must not be.
"""

from __future__ import annotations

import datetime
from collections.abc import Container, Iterator, Mapping, Sequence

SOON = datetime.timedelta(days=30)
"""An expiry that is nearer is reported."""
_API_SERVERS = "apiserver-etcd-client"
_HOW = {
    _API_SERVERS: '(docs/kubernetes.md, "When the outputs change")',
    "prometheus-etcd-client": '(docs/monitoring.md, "When the outputs change")',
}
_HOW_ELSE = """(docs/operations.md, "Users with limited access (etcd's authentication)")"""

Known = Mapping[str, Sequence[Mapping[str, str]]]
"""Client certificate -> `expires` and `issuer` (name of the CA) of each that was issued and is accepted, latest first.
"""


def rows(known: Known, now: datetime.datetime) -> Iterator[tuple[str, datetime.datetime]]:
    """Name and expiry of every certificate; valid ones that were issued before the present one are `..., earlier`."""
    for name, (present, *earlier) in known.items():
        yield name, _expiry(present)
        for each in earlier:
            if now < _expiry(each):
                yield f"{name}, earlier", _expiry(each)


def expiring(known: Known, now: datetime.datetime) -> Iterator[str]:
    """What must be done about present certificates that expire soon."""
    for name, (present, *_) in known.items():
        if _expiry(present) < now + SOON:
            yield (
                f"{name} expires {present['expires']}: run `pulumi up`, which renews it inside its renewal window. "
                f"Then put the renewed one in place {_HOW.get(name, _HOW_ELSE)}."
            )


def replaced(known: Known, now: datetime.datetime, renewed: Container[str] = ()) -> Iterator[str]:
    """What must be done about earlier certificates that expire soon.

    Args:
        known: the certificates.
        now: the present time.
        renewed: certificates whose earlier ones are reported even if they expire later.
    """
    for name, (present, *earlier) in known.items():
        client = "An API server" if name == _API_SERVERS else "A client"
        for each in earlier:
            if now < _expiry(each) and (name in renewed or _expiry(each) < now + SOON):
                dropped = f", or when the CA {each['issuer']} is dropped" * (each["issuer"] != present["issuer"])
                yield (
                    f"{name} was renewed. {client} that still has the earlier one gets no new connection after "
                    f"{each['expires']}{dropped}. Put the renewed one in place before that "
                    f"{_HOW.get(name, _HOW_ELSE)}. No member can see whether this was done."
                )


def _expiry(issued: Mapping[str, str]) -> datetime.datetime:
    return datetime.datetime.strptime(issued["expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)

"""An etcd for tests of a leased key."""

import base64
import re
from collections.abc import Sequence
from typing import Any

from components.node.shared.spec import Spec


class Store:
    """As much of etcd as one leased key needs: the key, leases, and a clock that tests move.

    `seconds` is the TTL of the leases.
    """

    def __init__(self, key: str, seconds: int) -> None:
        self._key, self._seconds = key, seconds
        self.value: tuple[str, int] | None = None
        self.leases: dict[int, float] = {}
        self.now = 0.0
        self.full = False
        self.meanwhile: list[Any] = []
        """Functions to call between requests, one before each request."""
        self._numbers = iter(range(1, 1000))
        self._busy = False

    def etcdctl(
        self, _: Spec, addresses: Sequence[str], words: Sequence[str], *, check: bool = True, stdin: str = ""
    ) -> tuple[int, Any, str]:
        assert addresses
        if self.meanwhile and not self._busy:
            self._busy = True  # the functions' own requests trigger no further ones
            self.meanwhile.pop(0)()
            self._busy = False
        self.lapse()
        code, value, said = self._answer(list(words), stdin)
        assert code == 0 or not check, said
        return code, value, said

    def lapse(self) -> None:
        self.leases = {number: end for number, end in self.leases.items() if end > self.now}
        if self.value is not None and self.value[1] not in self.leases:
            self.value = None

    def _answer(self, words: list[str], stdin: str) -> tuple[int, Any, str]:  # noqa: PLR0911  a table of requests
        if words[0] == "get":
            return 0, {"kvs": [self._row()]} if self.value else {}, ""
        if words[0] == "txn":
            free = self.value is None
            if free:
                put = re.search(rf"^put {self._key} '(.*)' --lease=([0-9a-f]+)$", stdin, re.MULTILINE)
                assert put is not None
                assert stdin.startswith(f'create("{self._key}") = "0"\n\n')
                self.value = (put[1], int(put[2], 16))
            return 0, {"succeeded": free}, ""
        if words[1] == "grant":
            if self.full:
                return 1, None, "etcdserver: mvcc: database space exceeded"
            number = next(self._numbers)
            self.leases[number] = self.now + int(words[2])
            return 0, {"ID": number}, ""
        number = int(words[-1], 16)
        if words[1] == "timetolive":
            return 0, {"ttl": int(self.leases.get(number, self.now - 1) - self.now)}, ""
        if number not in self.leases:
            return 1, None, "etcdserver: requested lease not found"
        if words[1] == "revoke":
            del self.leases[number]
            self.lapse()
        else:
            assert words[1:3] == ["keep-alive", "--once"]
            self.leases[number] = self.now + self._seconds
        return 0, {}, ""

    def _row(self) -> dict[str, Any]:
        assert self.value is not None
        return {"value": base64.b64encode(self.value[0].encode()).decode(), "lease": self.value[1]}

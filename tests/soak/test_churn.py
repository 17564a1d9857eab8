"""A cluster whose keys are overwritten without end stays below its quota by the rule of `maintenance` alone."""

import base64
import contextlib
import http.client
import json
import random
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab import Machine
from lab.probe import client_tls
from tests.lab.test_space import defragmentations
from tests.support.etcd import assert_serves_all_members, etcdctl, process_ids, write_client_files
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import Stacks

QUOTA = 96 << 20
KEYS, LARGEST = 100, 128 << 10
"""Values have up to this many bytes, so that free pages seldom fit the next one."""
BUSY_SECONDS = QUIET_SECONDS = 90.0
COMPACT_SECONDS = 30.0
"""API servers compact every five minutes to the revision of five minutes before; here a tenth of that."""
_REST = 0.05
_REQUEST_SECONDS = 2.0


class Churn:
    """Overwrites keys at a bounded rate for a while, then rests; compacts like an API server; looks at the files."""

    def __init__(self, tls: ssl.SSLContext, machines: Sequence[Machine], chance: random.Random) -> None:
        self._tls, self._machines, self._chance = tls, machines, chance
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._write, self._compact, self._look)]
        self.last: dict[str, str] = {}
        """Key -> value that was acknowledged last, in base64."""
        self.sizes: list[int] = []
        """Size of the largest file, each second."""
        self.written = 0
        """Bytes of all values."""
        self.refused: list[str] = []
        """etcd's errors."""

    def __enter__(self) -> "Churn":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def stored(self, machine: Machine) -> dict[str, str]:
        """Key -> value, from this member."""
        found = self._ask(machine, "kv/range", {"key": _coded("churn/"), "range_end": _coded("churn0")})
        assert found is not None
        return {base64.b64decode(each["key"]).decode(): each["value"] for each in found["kvs"]}

    def _ask(self, machine: Machine, page: str, content: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; None if there is none: a member that is defragmented answers nobody."""
        connection = http.client.HTTPSConnection(machine.address, 2379, timeout=_REQUEST_SECONDS, context=self._tls)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", f"/v3/{page}", json.dumps(content))
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status == http.client.OK:
                return dict(json.loads(text))
            self.refused.append(text)
        return None

    def _write(self) -> None:
        begun = time.monotonic()
        while not self._ended.wait(_REST):
            if (time.monotonic() - begun) % (BUSY_SECONDS + QUIET_SECONDS) > BUSY_SECONDS:
                continue
            key = f"churn/{self._chance.randrange(KEYS)}"
            raw = self._chance.randbytes(self._chance.randrange(LARGEST))
            content = {"key": _coded(key), "value": base64.b64encode(raw).decode()}
            # Until it is acknowledged: then its value is known.
            while not any(self._ask(each, "kv/put", content) for each in self._machines):
                if self._ended.wait(_REST):
                    self.last.pop(key, None)
                    return
            self.last[key] = content["value"]
            self.written += len(raw)

    def _compact(self) -> None:
        earlier = ""
        while not self._ended.wait(COMPACT_SECONDS):
            if earlier:
                any(self._ask(each, "kv/compaction", {"revision": earlier}) for each in self._machines)
            found = self._ask(self._machines[0], "kv/range", {"key": _coded("churn")})
            earlier = found["header"]["revision"] if found else ""

    def _look(self) -> None:
        while not self._ended.wait(1):
            found = [self._ask(each, "maintenance/status", {}) for each in self._machines]
            self.sizes.append(max([int(each["dbSize"]) for each in found if each], default=0))


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.soak
def test_a_churning_cluster_stays_below_its_quota(
    machines: Machines, stacks: Stacks, tmp_path: Path, seed: str, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(f"{seed} churn")  # noqa: S311 - the same walk again is the point
    found = machines.fresh(3)
    stack = stacks.new(found, quota=f"{QUOTA}", maintenance={"defragment": True, "recoverSpace": True})
    stack.up()
    before = process_ids(found)
    write_client_files(tmp_path, stack.outputs())
    tls = client_tls(tmp_path / "ca.crt", tmp_path / "client.crt", tmp_path / "client.key")
    end = time.monotonic() + 60 * float(request.config.getoption("--minutes"))
    with probing(stack, found, tmp_path, "Churn") as probe, Churn(tls, found, chance) as churn:
        time.sleep(end - time.monotonic())
    turns = [name for _, _, name in defragmentations(found)]
    print(
        f"{churn.written >> 20} MiB written to {KEYS} keys; largest file {max(churn.sizes) >> 20} MiB of "
        f"{QUOTA >> 20} MiB; defragmentations: {turns}; {probe.report}"
    )
    assert churn.refused == []
    assert max(churn.sizes) < QUOTA
    assert etcdctl(found[0], "alarm", "list") == ""
    assert len(set(turns)) > 1, "it was the rule that kept them small"
    for machine in found:
        assert churn.last.items() <= churn.stored(machine).items(), machine.name
    assert process_ids(found) == before
    assert_serves_all_members(found)

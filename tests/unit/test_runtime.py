"""The settings of Pulumi's Python runtime: many registrations at once, no debug messages, no search for garbage."""

import asyncio
import gc
import threading
from collections.abc import Iterator

import pulumi
import pytest
from pulumi.runtime.proto import engine_pb2

from stacks import runtime

AT_ONCE = 150
"""More registrations than seven members on a cloud have without a dependency."""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # `tune` applies to a whole process, which here runs other tests.
    monkeypatch.setattr(pulumi.log, "debug", pulumi.log.debug)
    yield
    gc.enable()


def test_no_registration_waits_for_another_one() -> None:
    together = threading.Barrier(AT_ONCE)

    async def register() -> None:
        runtime.tune()
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, together.wait, 30) for _ in range(AT_ONCE)))

    asyncio.run(register())


def test_only_debug_messages_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[engine_pb2.LogRequest] = []

    class Engine:
        def Log(self, request: engine_pb2.LogRequest) -> None:  # noqa: N802
            sent.append(request)

    monkeypatch.setattr(pulumi.log, "get_engine", Engine)

    async def log() -> None:
        pulumi.log.debug("before")
        runtime.tune()
        pulumi.log.debug("after", stream_id=1)
        pulumi.log.info("information")

    asyncio.run(log())
    assert [request.message for request in sent] == ["before", "information"]
    assert not gc.isenabled()

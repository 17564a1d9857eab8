"""Which errors of a new machine are retried."""

import pytest

from components.wait_for_ssh import worth_another_try


@pytest.mark.parametrize(
    "said",
    [
        "after 10 failed attempts: dial tcp 198.51.100.7:22: connect: connection refused",
        "dial tcp 198.51.100.7:22: i/o timeout",
        "proxy: ssh: handshake failed: EOF",
        "ssh: handshake failed: read tcp 198.51.100.1:4711->198.51.100.7:22: read: connection reset by peer",
        "wait: remote command exited without exit status or exit signal",
    ],
)
def test_a_starting_machine_is_retried_for_minutes(said: str) -> None:
    assert worth_another_try(said, 0)
    assert worth_another_try(said, 300)
    assert not worth_another_try(said, 900)


def test_an_unknown_login_is_retried_for_a_minute() -> None:
    said = "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey]"
    assert worth_another_try(said, 30)
    assert not worth_another_try(said, 90)


@pytest.mark.parametrize("said", ["ssh: handshake failed: ssh: host key mismatch", "Process exited with status 1"])
def test_permanent_errors_are_reported_immediately(said: str) -> None:
    assert not worth_another_try(said, 0)

"""Snapshots that are kept elsewhere, as they are registered with the engine."""

from typing import Any

from tests.support.recording import bundle_of, is_secret, plain_text

from .test_cluster_registrations import cluster

SECRET = "of-nobody-else"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOw5RrJLhyGuR8sUwhcsqKH9GmUiGzlvGzyXxbqdVyAI"
BACKUP: dict[str, Any] = {
    "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
    "s3": {"bucket": "etcd", "region": "eu", "access_key_id": "AKIA", "secret_access_key": SECRET},
    "keep": {"hourly": 24.0},  # as other languages pass it
}


def test_the_access_key_is_only_on_stdin_of_the_command_that_writes_it() -> None:
    recorder = cluster(False, backup=BACKUP)
    for verb in ("prepare", "converge", "health"):
        name = "dev-health" if verb == "health" else f"dev-a-{verb}"
        assert '"backup": {' in recorder.named(name).inputs["create"]
    converge = recorder.named("dev-a-converge")
    assert is_secret(converge.inputs["stdin"])
    assert bundle_of(converge)["store"] == {"access_key_id": "AKIA", "secret_access_key": SECRET}
    assert '"hourly": 24\n' in converge.inputs["create"]
    for registration in recorder.registrations:
        assert SECRET not in plain_text(registration.inputs), registration.name


def test_the_private_key_of_a_login_is_only_on_stdin_too() -> None:
    key = "-----BEGIN X-----\n" + SECRET
    ssh = {"host": "backup.lab", "user": "etcd", "directory": "/srv", "host_key": HOST_KEY, "port": 22.0}
    recorder = cluster(False, backup={"recipients": BACKUP["recipients"], "ssh": {**ssh, "private_key": key}})
    assert bundle_of(recorder.named("dev-a-converge"))["store"] == {"key_pem": key}
    assert '"port": "22"' in recorder.named("dev-a-converge").inputs["create"]
    for registration in recorder.registrations:
        assert SECRET not in plain_text(registration.inputs), registration.name


def test_another_access_key_is_a_change_that_a_killed_run_records_first() -> None:
    """Otherwise the machines of a killed run would keep a key that the configuration does not have any more."""
    other = {**BACKUP, "s3": {**BACKUP["s3"], "secret_access_key": "another"}}
    given = [cluster(False, backup=backup).named("dev-change").inputs["input"] for backup in (BACKUP, other)]
    assert all(map(is_secret, given))
    assert given[0] != given[1]


def test_a_cluster_without_snapshots_registers_nothing_of_them() -> None:
    recorder = cluster(False)
    for registration in recorder.registrations:
        assert '"backup"' not in plain_text(registration.inputs), registration.name
    assert not is_secret(recorder.named("dev-change").inputs["input"])
    assert "store" not in bundle_of(recorder.named("dev-a-converge"))

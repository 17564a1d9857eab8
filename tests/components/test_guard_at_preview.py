"""A change that cannot be made in one update is refused by `pulumi preview`: the real engine, and no machine."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.plan.guard.state import digest
from stacks import config, guard
from tests.support.sshd import new_key
from tests.support.stacks import Run, Stack, Stacks, override_in

HOST_KEY = " ".join(new_key()[1].split()[:2])


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    path.write_text(new_key()[0])
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Stack:
    return Stacks(tmp_path_factory.mktemp("stacks")).new([], machines=machines(key, 1, 2, 3))


def machines(key: Path, *numbers: int) -> list[dict[str, Any]]:
    ssh = {"user": "root", "privateKeyFile": str(key), "hostKey": HOST_KEY}
    return [{"name": f"etcd-{number}", "address": f"192.0.2.{number}", "ssh": ssh} for number in numbers]


def after(stack: Stack, key: Path, **given: Any) -> dict[str, Any]:
    """What an update with this configuration leaves in `applied`; with the machines 1 to 3 unless said otherwise."""
    settings = {"platform": "hosts", "clusterName": "test", "machines": machines(key, 1, 2, 3), **given}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    wanted = guard.wanted(config.load(stack.directory.name, texts))
    # What the component knows beside that: which machines they are.
    return {**wanted.data(), "serial": 4, "identities": dict.fromkeys(wanted.members, digest(HOST_KEY))}


def previewed(stack: Stack, **given: Any) -> Run:
    """A preview with these keys added to the configuration."""
    before = dict(stack.config)
    stack.config |= given
    try:
        return stack.preview(check=False)
    finally:
        stack.config = before


def diagnostics(run: Run) -> list[str]:
    """What the preview says at its end, line by line."""
    part = run.text.partition("Diagnostics:")[2].partition("Resources:")[0]
    return [line.strip() for line in part.splitlines() if line.strip()]


def test_a_skipped_minor_is_one_diagnostic_with_the_updates_that_lead_there(stack: Stack, key: Path) -> None:
    stack.left(applied=after(stack, key, version="3.5.35"))
    run = previewed(stack, version="3.7.3")
    assert run.code != 0
    said = diagnostics(run)
    assert [line for line in said if line.startswith("error")] == [
        "error: This change of the cluster test is refused; nothing was touched:"
    ]
    start = said.index("error: This change of the cluster test is refused; nothing was touched:")
    assert said[start + 1 : start + 5] == [
        "version: given '3.7.3'. etcd goes up one minor version at a time, and the last update left 3.5.35. "
        "Take the minors between 3.5 and 3.7 one after another.",
        "These updates lead there, each with its own pulumi up:",
        "1. version: 3.6.16",
        "2. version: 3.7.3",
    ]
    assert said[start + 5].startswith("Who knows better sets external-etcd:override to allow-")
    assert "Traceback" not in run.text
    assert "EtcdCluster" not in run.text, "nothing was declared"
    assert "to create" not in run.text


def test_a_phase_of_a_ca_rotation_cannot_be_skipped(stack: Stack, key: Path) -> None:
    stack.left(applied=after(stack, key))
    run = previewed(stack, authorities=[{"name": "2"}])
    assert run.code != 0
    for text in (
        "issuer: given '2'. An authority issues when every member and every client has trusted it for an update",
        "authorities: given trusted 2, issuer 2. An authority is dropped when none of its certificates is in use",
        "1. authorities: 1, 2\n",
        "2. issuer: 2\n",
        "3. authorities: 2\n",
    ):
        assert text in run.text, run.text


def test_an_accepted_change_is_announced_step_by_step_and_no_change_is_not(stack: Stack, key: Path) -> None:
    stack.left(applied=after(stack, key))
    run = previewed(stack, machines=machines(key, 1, 4, 3))
    assert run.code == 0, run.text
    steps = [line for line in diagnostics(run) if line[:1].isdigit()]
    assert steps == [
        "1. prepare etcd-1, etcd-4, etcd-3: nothing stops [3 voters, 1 may be lost]",
        "2. etcd-4 joins as a learner [3 voters, 1 may be lost]",
        "3. etcd-4 becomes a voter [4 voters, 1 may be lost]",
        "4. etcd-2 leaves; the leader last [3 voters, 1 may be lost]",
        "5. check the health of all members [3 voters, 1 may be lost]",
        "6. retire the machine of etcd-2 [3 voters, 1 may be lost]",
    ]
    stack.left(applied=after(stack, key))
    assert "voters" not in previewed(stack).text


def test_an_override_is_for_one_change_and_is_said(stack: Stack, key: Path) -> None:
    stack.left(applied=after(stack, key, version="3.5.35"))
    token = override_in(previewed(stack, version="3.7.3"))
    allowed = previewed(stack, version="3.7.3", override=token)
    assert allowed.code == 0
    assert f"warning: Overridden once, with {token}:" in diagnostics(allowed)
    assert "etcd-1 restarts: etcd 3.5.35 -> 3.7.3" in allowed.text

    other = previewed(stack, version="3.7.3", machines=machines(key, 1), override=token)
    assert other.code != 0
    assert f"external-etcd:override is '{token}', which was for another change." in diagnostics(other)

    # It was done, undone by hand, and is wanted again: another update, another override.
    stack.left(applied={**after(stack, key, version="3.5.35"), "serial": 6})
    assert previewed(stack, version="3.7.3", override=token).code != 0
    stack.left(applied=after(stack, key, version="3.7.3"))
    done = previewed(stack, version="3.7.3", override=token)
    assert done.code == 0
    assert any("There is nothing to override" in line for line in diagnostics(done))


def test_an_update_without_a_trace_of_the_last_one_is_left_to_the_machines(stack: Stack, key: Path) -> None:
    stack.left(applied=None)
    run = previewed(stack, version="3.7.3")
    assert run.code == 0, run.text
    assert "start etcd-1, etcd-2, etcd-3 together as a new cluster" in run.text


def test_a_trace_that_cannot_be_read_is_said_and_is_no_founding(stack: Stack, key: Path) -> None:
    stack.left(applied={"format": 99})
    run = previewed(stack, version="3.7.3")
    assert run.code == 0, run.text
    assert any("compared with nothing, and only the machines can refuse it" in line for line in diagnostics(run))
    assert "as a new cluster" not in run.text
    stack.left(applied=after(stack, key))
    assert "compared with nothing" not in previewed(stack).text

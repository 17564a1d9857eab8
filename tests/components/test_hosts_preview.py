"""Existing machines with the real engine, and none of them reachable: what a preview shows and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.plan.guard.state import digest
from stacks import guard
from tests.support.configurations import load
from tests.support.manual import manual_lines
from tests.support.sshd import new_key
from tests.support.stacks import Run, Stack, Stacks, override_in

HOST_KEY = " ".join(new_key()[1].split()[:2])
LEFT = "3.5.35"
"""The release of the last update."""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    path.write_text(new_key()[0])
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Stack:
    """A stack whose outputs say that an update made the machines 1 to 3 members of LEFT."""
    stack = Stacks(tmp_path_factory.mktemp("stacks")).new([], machines=machines(key, 1, 2, 3), version=LEFT)
    wanted = guard.wanted(load(stack.config, stack=stack.directory.name))
    # The component also records the identities of the machines.
    stack.left(applied={**wanted.data(), "serial": 4, "identities": dict.fromkeys(wanted.members, digest(HOST_KEY))})
    return stack


@pytest.fixture(scope="module")
def skipped(stack: Stack) -> Run:
    """The preview of an update that skips a minor version."""
    return previewed(stack, version="3.7.3")


def machines(key: Path, *numbers: int) -> list[dict[str, Any]]:
    ssh = {"user": "root", "privateKeyFile": str(key), "hostKey": HOST_KEY}
    return [{"name": f"etcd-{number}", "address": f"192.0.2.{number}", "ssh": ssh} for number in numbers]


def previewed(stack: Stack, **given: Any) -> Run:
    """A preview with these keys added to the configuration."""
    before = dict(stack.config)
    stack.config |= given
    try:
        return stack.preview(check=False)
    finally:
        stack.config = before


def diagnostics(run: Run) -> list[str]:
    """The diagnostics at the end of a preview, line by line."""
    part = run.text.partition("Diagnostics:")[2].partition("Resources:")[0]
    return [line.strip() for line in part.splitlines() if line.strip()]


def assert_nothing_was_declared(run: Run) -> None:
    assert run.code != 0
    for text in ("Traceback", "EtcdCluster", "to create"):
        assert text not in run.text


def test_all_problems_are_reported_together_without_private_keys(
    stack: Stack, key: Path, own_authority: dict[str, str]
) -> None:
    first, second = machines(key, 1, 2)
    other_key = new_key("ecdsa")[0]
    # Flag errors are missing here, because the flags of a nonexistent version are unknown.
    run = previewed(
        stack,
        machines=[first, {**second, "address": first["address"]}],
        flags={"data-dir": "/elsewhere"},
        quotta="2GiB",
        authorities=[{"name": "ours", "certificate": own_authority["certificate"], "privateKey": other_key}],
    )
    assert_nothing_was_declared(run)
    for text in (
        "machines: given 2 members",
        "machines[1].address: given '192.0.2.1'",
        "flags.data-dir",
        "set `dataDirectory`",
        "quotta",
        "'quota'",
        "authorities[0].privateKey",
    ):
        assert text.lower() in run.text.lower(), f"{text!r} is not in:\n{run.text}"
    assert not any(line in run.text for line in other_key.splitlines() if len(line) > 40)
    assert json.dumps(other_key) not in run.text


def test_a_skipped_minor_is_one_diagnostic_that_proposes_updates(skipped: Run) -> None:
    assert_nothing_was_declared(skipped)
    said = diagnostics(skipped)
    assert [line for line in said if line.startswith("error")] == [
        "error: This change of the cluster test is refused; nothing was touched:"
    ]
    start = said.index("error: This change of the cluster test is refused; nothing was touched:")
    assert said[start + 1 : start + 5] == [
        "version: given '3.7.3'. etcd can be upgraded by only one minor version at a time; the last update installed "
        "3.5.35. Go through the minor versions between 3.5 and 3.7, one update each.",
        "Make these updates instead, each with its own pulumi up:",
        "1. version: 3.6.16",
        "2. version: 3.7.3",
    ]
    assert said[start + 5].startswith("To proceed anyway, set external-etcd:override to allow-")


def test_an_overridden_refusal_is_a_warning(stack: Stack, skipped: Run) -> None:
    token = override_in(skipped)
    allowed = previewed(stack, version="3.7.3", override=token)
    assert allowed.code == 0
    assert f"warning: Overridden once, with {token}:" in diagnostics(allowed)
    assert "etcd-1 restarts: etcd 3.5.35 -> 3.7.3" in allowed.text


def test_an_accepted_change_is_announced_step_by_step(stack: Stack, key: Path) -> None:
    run = previewed(stack, machines=machines(key, 1, 4, 3))
    assert run.code == 0, run.text
    steps = [line for line in diagnostics(run) if line[:1].isdigit()]
    assert steps == [
        "1. prepare etcd-1, etcd-4, etcd-3: no member stops; a slow disk is accepted for etcd-4 [3 voters, tolerates 1 "
        "failure]",
        "2. etcd-4 joins as a learner [3 voters, tolerates 1 failure]",
        "3. etcd-4 is promoted to voter [4 voters, tolerates 1 failure]",
        "4. etcd-2 is removed [3 voters, tolerates 1 failure]",
        "5. check the health of all members [3 voters, tolerates 1 failure]",
        "6. retire the machine of etcd-2 [3 voters, tolerates 1 failure]",
    ]


def test_slow_disks_and_links_are_in_the_plan_as_in_the_manual(stack: Stack, key: Path) -> None:
    last = stack.outputs()["applied"]
    slow = {"fdatasync_p99_ms": 44.2, "fdatasync_average_ms": 31.0, "round_trips_ms": {"etcd-1": 140.0}}
    stack.left(applied={**last, "measured": {"etcd-2": {**slow, "round_trips_ms_at": 1}}})
    try:
        run, same = previewed(stack, machines=machines(key, 1, 2, 4)), previewed(stack)
    finally:
        stack.left(applied=last)
    shown = [line for line in diagnostics(run) if line[:1].isdigit() or line.startswith("Slow")]
    manual = manual_lines("Slow disks and links", 2, language="text").splitlines()
    assert shown == [line.strip() for line in manual]
    assert "Slow" not in same.text


def test_without_a_change_there_are_no_steps_and_overrides_are_reported(stack: Stack, skipped: Run) -> None:
    run = previewed(stack, override=override_in(skipped))
    assert run.code == 0, run.text
    assert any("There is nothing to override" in line for line in diagnostics(run))
    assert "voters" not in run.text
    assert "compared with nothing" not in run.text


def test_without_a_readable_last_update_the_machines_decide(stack: Stack) -> None:
    """Must be the last test here, because it removes the outputs that the others need."""
    stack.left(applied=None)
    run = previewed(stack, version="3.7.3")
    assert run.code == 0, run.text
    assert "to create" in run.text
    assert "bootstrap a new cluster of etcd-1, etcd-2, etcd-3" in run.text
    assert "compared with nothing" not in run.text

    stack.left(applied={"format": 99})
    run = previewed(stack, version="3.7.3")
    assert run.code == 0, run.text
    assert any("compared with nothing, and only the machines can refuse it" in line for line in diagnostics(run))
    assert "bootstrap a new cluster" not in run.text

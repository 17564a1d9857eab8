"""etcd's systemd unit, and the permission to start with an empty data directory."""

from components.node.service import unit

from .node_support import a_spec


def test_the_unit_has_one_flag_per_line_and_no_bootstrap_flags() -> None:
    text = unit.render(a_spec(flags={"--name": "etcd-1", "--log-level": "info"}))
    assert "\n  --name=etcd-1 \\\n  --log-level=info \\\n" in text
    assert "--initial-cluster=" not in text
    assert "--initial-cluster-state=new" not in text
    assert "--initial-cluster-token" not in text


def test_the_unit_starts_only_with_data_or_with_permission() -> None:
    text = unit.render(a_spec(data_directory="/srv/etcd"))
    conditions = [line for line in text.splitlines() if line.startswith("Condition")]
    assert conditions == [
        "ConditionPathExists=|/srv/etcd/member/wal",
        "ConditionPathExists=|/run/etcd-node/bootstrap.env",
    ]


def test_a_restart_without_permission_can_neither_bootstrap_nor_join() -> None:
    text = unit.render(a_spec())
    # Without --initial-cluster etcd takes itself for the only member; with `existing` it then has no peer to join.
    assert "--initial-cluster-state=existing \\\n  $BOOTSTRAP_FLAGS\n" in text
    assert "ExecStopPost=-+/bin/rm -f /run/etcd-node/bootstrap.env\n" in text


def test_special_characters_reach_etcd_unchanged() -> None:
    text = unit.render(a_spec(flags={"--a": "50%", "--b": "$HOME", "--c": 'say "a b"', "--d": "back\\slash"}))
    assert "--a=50%% " in text
    assert "--b=$$HOME " in text
    assert '"--c=say \\"a b\\"" ' in text
    assert '"--d=back\\\\slash" ' in text


def test_the_unit_begins_with_the_programs_mark() -> None:
    assert unit.render(a_spec()).startswith(unit.MARK)


def test_a_bootstrap_names_state_token_and_all_members() -> None:
    text = unit.bootstrap({"a": "https://10.0.0.1:2380", "b": "https://10.0.0.2:2380"}, token="dev")
    cluster = "--initial-cluster=a=https://10.0.0.1:2380,b=https://10.0.0.2:2380"
    assert f'BOOTSTRAP_FLAGS="{cluster} --initial-cluster-state=new --initial-cluster-token=dev"\n' in text


def test_a_join_never_uses_the_state_new() -> None:
    text = unit.bootstrap({"a": "https://10.0.0.1:2380"})
    assert "new" not in text
    assert "token" not in text


def test_bootstrap_flags_are_ignored_in_comparisons() -> None:
    spec = a_spec(flags={"--name": "etcd-1"})
    live = [
        *unit.command(spec),
        "--initial-cluster-state=existing",
        "--initial-cluster=a=b",
        "--initial-cluster-token=x",
    ]
    assert unit.permanent(live) == unit.command(spec)

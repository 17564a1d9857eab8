"""Flags of etcd: which are rendered, and which of the user's are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import flags, known_flags, versions

SERIES = versions.MINORS


def version(series: str) -> versions.EtcdVersion:
    found = versions.parse({"3.5": "3.5.35", "3.6": "3.6.16", "3.7": "3.7.3"}[series])
    assert found is not None
    return found


def render(series: str, user: dict[str, str] | None = None, **settings: object) -> dict[str, str]:
    given = {"data_directory": "/var/lib/etcd", "quota_bytes": 1 << 31, **settings}
    return flags.render_flags(version(series), "a", "10.0.0.1", user=user, **given)  # type: ignore[arg-type]


def messages(series: str, user: dict[str, object]) -> str:
    return "\n".join(str(problem) for problem in flags.check_flags(version(series), user))


@pytest.mark.parametrize("series", SERIES)
def test_every_rendered_flag_is_known_to_its_version(series: str) -> None:
    rendered = render(series, heartbeat_interval_ms=50, election_timeout_ms=500)
    assert {flag.removeprefix("--") for flag in rendered} <= known_flags.FLAGS[series].keys()


@pytest.mark.parametrize("series", SERIES)
def test_default_flags_authenticate_and_protect_the_quorum(series: str) -> None:
    rendered = render(series)
    for flag in ("client-cert-auth", "peer-client-cert-auth", "pre-vote", "strict-reconfig-check"):
        assert rendered[f"--{flag}"] == "true"
    assert rendered["--tls-min-version"] == "TLS1.2"
    for flag, value in rendered.items():
        assert not flag.endswith("-urls") or flag == "--listen-metrics-urls" or "http://" not in value


def test_corruption_checks_and_watch_progress_have_the_names_of_each_minor() -> None:
    old = render("3.5")
    assert old["--experimental-initial-corrupt-check"] == "true"
    assert old["--experimental-compact-hash-check-enabled"] == "true"
    assert old["--experimental-watch-progress-notify-interval"] == "5s"
    for series in ("3.6", "3.7"):
        new = render(series)
        assert new["--feature-gates"] == "CompactHashCheck=true,InitialCorruptCheck=true"
        assert new["--watch-progress-notify-interval"] == "5s"
        assert not [flag for flag in new if "experimental" in flag]


@pytest.mark.parametrize("series", SERIES)
def test_etcds_defaults_are_omitted_unless_set(series: str) -> None:
    rendered = render(series)
    for flag in ("heartbeat-interval", "election-timeout", "snapshot-count", "auto-compaction-mode", "logger"):
        assert f"--{flag}" not in rendered
    assert render(series, election_timeout_ms=2000)["--election-timeout"] == "2000"


def test_metrics_are_on_loopback_by_default() -> None:
    assert render("3.6")["--listen-metrics-urls"] == "http://127.0.0.1:2381"
    private = render("3.6", metrics="private")
    assert private["--listen-metrics-urls"] == "http://127.0.0.1:2381,http://10.0.0.1:2381"


def test_user_feature_gates_override_the_defaults() -> None:
    rendered = render("3.6", {"feature-gates": "SetMemberLocalAddr=true,CompactHashCheck=false"})
    assert rendered["--feature-gates"] == "CompactHashCheck=false,InitialCorruptCheck=true,SetMemberLocalAddr=true"


def test_a_user_flag_replaces_a_default() -> None:
    rendered = render("3.6", {"watch-progress-notify-interval": "1m", "tls-min-version": "TLS1.3"})
    assert rendered["--watch-progress-notify-interval"] == "1m"
    assert rendered["--tls-min-version"] == "TLS1.3"


def test_a_deprecated_flag_gets_its_new_name_and_a_warning() -> None:
    user = {"experimental-watch-progress-notify-interval": "7s", "experimental-stop-grpc-service-on-defrag": "true"}
    assert messages("3.6", dict(user)) == ""
    rendered = render("3.6", user)
    assert rendered["--watch-progress-notify-interval"] == "7s"
    assert "StopGRPCServiceOnDefrag=true" in rendered["--feature-gates"]
    assert not [flag for flag in rendered if "experimental" in flag]
    warnings = "\n".join(flags.flag_warnings(version("3.6"), user))
    assert "passed on as --watch-progress-notify-interval" in warnings
    assert "passed on as --feature-gates=StopGRPCServiceOnDefrag=true" in warnings


def test_a_flag_and_its_successor_together_are_refused() -> None:
    both: dict[str, object] = {"corrupt-check-time": "1h", "experimental-corrupt-check-time": "2h"}
    assert "same setting as 'corrupt-check-time'" in messages("3.6", both)
    gate: dict[str, object] = {"feature-gates": "LeaseCheckpoint=true", "experimental-enable-lease-checkpoint": "false"}
    assert "same setting as 'feature-gates'" in messages("3.6", gate)


@pytest.mark.parametrize(
    ("series", "flag", "value", "expected"),
    [
        ("3.6", "max-txn-op", "1", "Did you mean 'max-txn-ops'?"),
        ("3.6", "no-such-thing-at-all", "1", "etcd 3.6.16 does not have this flag"),
        ("3.5", "max-learners", "1", "etcd 3.6 and 3.7 has"),
        ("3.5", "corrupt-check-time", "1h", "In 3.5 it is called 'experimental-corrupt-check-time'"),
        ("3.5", "feature-gates", "InitialCorruptCheck=true", "Feature gates exist from 3.6 on"),
        ("3.7", "experimental-corrupt-check-time", "1h", "In 3.7 it is called 'corrupt-check-time'"),
        ("3.7", "experimental-initial-corrupt-check", "true", "feature-gates: InitialCorruptCheck=true"),
        ("3.6", "--max-txn-ops", "256", "Write 'max-txn-ops'"),
        ("3.6", "max_txn_ops", "256", "Write 'max-txn-ops'"),
        ("3.6", "max-txn-ops", "many", "a whole number"),
        ("3.6", "pre-vote", "true", "cannot be set here"),
        ("3.6", "enable-pprof", "yes", "true or false"),
        ("3.6", "grpc-keepalive-min-time", "5", "a duration"),
        ("3.6", "log-level", "verbose", "'debug' or 'info'"),
        ("3.6", "log-outputs", "a\nb", "without line breaks"),
        ("3.6", "feature-gates", "InitialCorruptChek=true", "Did you mean 'InitialCorruptCheck'"),
        ("3.6", "feature-gates", "InitialCorruptCheck", "Gate=true or Gate=false"),
        ("3.6", "feature-gates", "FastLeaseKeepAlive=true", "does not have this feature gate"),
        ("3.6", "name", "b", "cannot be set here: it is the name of the machine"),
        ("3.6", "quota-backend-bytes", "1", "Set `quota`"),
        ("3.6", "data-dir", "/x", "Set `dataDirectory`"),
        ("3.6", "listen-metrics-urls", "http://0.0.0.0:1", "loopback"),
        ("3.6", "initial-cluster", "a=b", "cannot be set here"),
        ("3.6", "initial-cluster-state", "new", "cannot be set here"),
        ("3.6", "discovery-token", "x", "cannot be set here"),
        ("3.5", "proxy-read-timeout", "1", "v2 proxy"),
        ("3.6", "force-new-cluster", "true", "breaks the guarantees"),
        ("3.6", "config-file", "/x", "ignores all flags"),
        ("3.6", "client-cert-auth", "false", "always present a certificate"),
        ("3.6", "peer-skip-client-san-verification", "true", "always present a certificate"),
    ],
)
def test_a_forbidden_flag_is_refused_with_a_remedy(series: str, flag: str, value: str, expected: str) -> None:
    [problem] = flags.check_flags(version(series), {flag: value})
    assert problem.key == f"flags.{flag}"
    assert expected in str(problem)
    assert problem.remedy


@pytest.mark.parametrize("series", SERIES)
def test_flags_owned_by_the_program_are_refused(series: str) -> None:
    changeable = {"tls-min-version", "feature-gates"} | {
        name for name in known_flags.FLAGS[series] if "check" in name or "progress" in name
    }
    for flag in {name.removeprefix("--") for name in render(series)} - changeable:
        assert "cannot be set here" in messages(series, {flag: "1"}), flag


def test_initial_election_tick_advance_is_not_a_bootstrap_flag() -> None:
    assert messages("3.6", {"initial-election-tick-advance": "false"}) == ""


@pytest.mark.parametrize("series", SERIES)
def test_every_deprecated_flag_gets_a_warning(series: str) -> None:
    for flag in known_flags.DEPRECATED[series]:
        assert flag in known_flags.FLAGS[series]
        assert "deprecated" in " ".join(flags.flag_warnings(version(series), {flag: "1"}))


_SAMPLES = {"boolean": "true", "integer": "7", "duration": "5s", "text": "x"}


@given(st.sampled_from(SERIES), st.data())
def test_accepted_flags_are_rendered_and_known(series: str, data: st.DataObject) -> None:
    names = data.draw(
        st.sets(st.sampled_from(sorted({*known_flags.FLAGS["3.5"], *known_flags.FLAGS["3.6"]})), max_size=6)
    )
    user = {name: _SAMPLES[known_flags.FLAGS[series].get(name, "text")] for name in names}
    if flags.check_flags(version(series), user):
        return
    rendered = render(series, user)
    assert {flag.removeprefix("--") for flag in rendered} <= known_flags.FLAGS[series].keys()
    assert set(render(series)) <= set(rendered)
    assert len(rendered) <= len(render(series)) + len(user)
    assert render(series, dict(reversed(list(user.items())))) == rendered


@pytest.mark.parametrize(
    ("heartbeat", "election", "key"),
    [
        (500, None, "heartbeat"),
        (None, 400, "election"),
        (100, 499, "election"),
        (0, 1000, "heartbeat"),
        (100, 50001, "election"),
    ],
)
def test_times_that_etcd_refuses_are_refused_at_preview(heartbeat: int | None, election: int | None, key: str) -> None:
    [problem] = flags.check_timing(heartbeat, election, "heartbeat", "election")
    assert problem.key == key


@given(st.one_of(st.none(), st.integers(-5, 60000)), st.one_of(st.none(), st.integers(-5, 60000)))
def test_accepted_times_satisfy_the_rules_of_etcd(heartbeat: int | None, election: int | None) -> None:
    if not flags.check_timing(heartbeat, election):
        beat, wait = 100 if heartbeat is None else heartbeat, 1000 if election is None else election
        assert beat >= 1
        assert 5 * beat <= wait <= 50000

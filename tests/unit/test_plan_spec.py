"""The specification of each member, and its text."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.shared import paths
from components.node.shared import spec as node_spec
from components.plan import (
    AuthorityPlan,
    ClusterPlan,
    MemberPlan,
    PlanError,
    UserPlan,
    bootstrap_spec,
    check_plan,
    client_urls,
    member_specs,
    spec_text,
    warnings,
)
from components.plan.data_directories import check_data_directories, check_place

MEMBERS = tuple(MemberPlan(f"etcd-{number}", f"10.0.0.1{number}") for number in (1, 2, 3))
PLAN = ClusterPlan("dev", MEMBERS, program="0123456789ab")


def test_the_specification_has_the_expected_structure() -> None:
    spec = member_specs(PLAN)["etcd-2"]
    flags = spec.pop("flags")
    assert spec == {
        "format": 1,
        "cluster": "dev",
        "member": "etcd-2",
        "members": {"etcd-1": "10.0.0.11", "etcd-2": "10.0.0.12", "etcd-3": "10.0.0.13"},
        "release": {"version": "3.6.16", "mirror": "https://github.com/etcd-io/etcd/releases/download", "sha256": {}},
        "data_directory": "/var/lib/etcd",
        "client_port": 2379,
        "peer_port": 2380,
        "metrics_url": "http://127.0.0.1:2381",
        "quota_bytes": 2147483648,
        "trusted": ["1"],
        "issuer": "1",
        "program": "0123456789ab",
    }
    assert flags["--name"] == "etcd-2"
    assert not {"--initial-cluster", "--initial-cluster-state", "--initial-cluster-token"} & flags.keys()


def test_peer_cas_have_their_own_file() -> None:
    own = replace(PLAN, peer_authorities=[AuthorityPlan("peer-1")], peer_issuer="peer-1")
    spec = member_specs(own)["etcd-1"]
    assert (spec["peer_trusted"], spec["peer_issuer"]) == (["peer-1"], "peer-1")
    assert spec["flags"]["--trusted-ca-file"] == "/etc/etcd/pki/ca.crt"
    assert spec["flags"]["--peer-trusted-ca-file"] == "/etc/etcd/pki/peer-ca.crt"


def test_shared_cas_keep_the_flags_of_earlier_versions() -> None:
    """Another flag would make every member restart when the program is upgraded."""
    before = member_specs(PLAN)["etcd-1"]
    assert before["flags"]["--peer-trusted-ca-file"] == "/etc/etcd/pki/ca.crt"
    assert member_specs(replace(PLAN, peer_authorities=[AuthorityPlan("1")], peer_issuer="1"))["etcd-1"] == before


def test_specifications_follow_the_members_order() -> None:
    specs = member_specs(PLAN)
    assert list(specs) == ["etcd-1", "etcd-2", "etcd-3"]
    assert all("initial_members" not in spec for spec in specs.values())


def test_initial_members_are_listed_beside_the_members() -> None:
    spec = bootstrap_spec(member_specs(PLAN)["etcd-1"], ["etcd-1"], "dev-1")
    assert list(json.loads(spec_text(spec)))[3:6] == ["members", "initial_members", "token"]
    assert "flags" not in spec
    gates = {"feature-gates": "SetMemberLocalAddr=true"}
    chosen = bootstrap_spec(member_specs(replace(PLAN, flags=gates))["etcd-1"], ["etcd-1"], "dev-1")
    assert list(chosen["flags"]) == ["--feature-gates"], "the test of the network asks for it"


def test_one_changed_setting_is_one_changed_line() -> None:
    before = spec_text(member_specs(PLAN)["etcd-1"]).splitlines()
    changed = replace(PLAN, flags={"watch-progress-notify-interval": "9s"})
    after = spec_text(member_specs(changed)["etcd-1"]).splitlines()
    assert len(before) == len(after)
    assert [line for line in after if line not in before] == ['    "--watch-progress-notify-interval": "9s",']


def test_an_added_flag_adds_one_line() -> None:
    before = spec_text(member_specs(PLAN)["etcd-1"]).splitlines()
    after = spec_text(member_specs(replace(PLAN, flags={"max-txn-ops": "256"}))["etcd-1"]).splitlines()
    assert [line for line in after if line not in before] == ['    "--max-txn-ops": "256",']
    assert len(after) == len(before) + 1


def test_an_unknown_key_of_a_specification_is_refused() -> None:
    with pytest.raises(ValueError, match="no colour"):
        spec_text({"colour": "red"})


def test_client_urls_bracket_ipv6() -> None:
    plan = ClusterPlan("dev", [MemberPlan("a", "fd00::1")], program="")
    assert client_urls(plan) == ["https://[fd00::1]:2379"]
    flags = member_specs(plan)["a"]["flags"]
    assert flags["--listen-client-urls"] == "https://[fd00::1]:2379,https://127.0.0.1:2379"
    assert flags["--initial-advertise-peer-urls"] == "https://[fd00::1]:2380"


def test_all_problems_of_a_cluster_are_reported_together() -> None:
    plan = ClusterPlan(
        "Dev",
        [MemberPlan("a", "10.0.0.1", "relative"), MemberPlan("a", "nowhere")],
        program="",
        version="9.9.9",
        release_mirror="ftp://x",
        release_sha256={"amd64": "12", "riscv": "34"},
        quota="lots",
        metrics="everywhere",
        election_timeout_ms=10,
    )
    with pytest.raises(PlanError) as refused:
        member_specs(plan)
    assert [problem.key for problem in refused.value.problems] == [
        "cluster_name",
        "members",
        "members[1].name",
        "members[1].address",
        "members[0].data_directory",
        "version",
        "release_mirror",
        "release_sha256.amd64",
        "release_sha256.riscv",
        "quota",
        "metrics",
        "election_timeout_ms",
    ]
    for problem in refused.value.problems:
        assert problem.value
        assert problem.rule
        assert problem.remedy
        assert str(problem) in str(refused.value)
    assert refused.value.key == "cluster_name"


def test_problem_keys_follow_the_callers_naming() -> None:
    [problem] = check_plan(replace(PLAN, release_mirror="x"), lambda name: name.upper())
    assert problem.key == "RELEASE_MIRROR"


@pytest.mark.parametrize(
    "path", ["var/lib/etcd", "/", "/data", "/var/lib/etcd/", "/var/../etc", "/var/lib/my etcd", "//a/b", None]
)
def test_an_unsuitable_data_directory_is_refused(path: str) -> None:
    members = [MemberPlan("a", "10.0.0.1", path)]
    [problem] = check_plan(replace(PLAN, members=members))
    assert problem.key == "members[0].data_directory"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/opt/etcd", "removes what this program created there"),
        ("/opt/etcd/data", "removes what this program created there"),
        ("/var/lib/etcd-node/data", "removes what this program created there"),
        ("/home/etcd/data", "unit hides it"),
        ("/root/etcd", "unit hides it"),
        ("/var/tmp/etcd", "unit hides it"),
        ("/tmp/etcd", "unit hides it"),
        ("/dev/shm/etcd", "unit hides it"),
        ("/run/etcd", "every boot empties it"),
        ("/var/run/etcd", "every boot empties it"),
        ("/usr/share/etcd", "operating system"),
        ("/var/lib", "/var/lib/etcd-node is below this one"),
    ],
)
def test_a_reserved_hidden_or_volatile_directory_is_refused(path: str, why: str) -> None:
    assert check_plan(replace(PLAN, members=[MemberPlan("a", "10.0.0.1", path)])) == [], "a member may have it already"
    problems, warnings = check_data_directories({"a": path, "b": path}, {}, "{}: {}".format)
    assert [problem.key for problem in problems] == [f"0: {path}", f"1: {path}"]
    assert why in problems[0].rule
    assert "/data/etcd" in problems[0].remedy
    assert warnings == []


def test_existing_data_in_a_refused_directory_is_a_warning() -> None:
    had = {"a": "/opt/etcd/data", "b": "/opt/etcd/more"}
    problems, warnings = check_data_directories({"a": "/opt/etcd/data", "b": "/opt/etcd/data"}, had, "{}: {}".format)
    assert [problem.key for problem in problems] == ["1: /opt/etcd/data"]
    assert len(warnings) == 1
    assert "The data of a are in /opt/etcd/data" in warnings[0]
    assert "Replace a by a member with another name" in warnings[0]


@pytest.mark.parametrize("path", ["/var/lib/etcd", "/var/lib/etcd-node2", "/opt/etcd-data/x", "/homes/etcd"])
def test_other_directories_are_accepted(path: str) -> None:
    assert check_plan(replace(PLAN, members=[MemberPlan("a", "10.0.0.1", path)])) == []
    assert check_place(path, "dataDirectory") == []


def test_the_programs_own_directories_on_a_machine_are_all_known() -> None:
    for own in (paths.RELEASES, paths.PKI, paths.STATE, paths.RUN, paths.PROGRAM, paths.LINKS, paths.UNIT_FILE.parent):
        assert check_place(f"{own}/data", "dataDirectory") != [], own


@pytest.mark.parametrize(
    "mirror",
    [
        "",
        "github.com/etcd-io",
        "file:///srv",
        "https://",
        "https://a b/",
        "https://h/?x=1",
        "https://h/#x",
        "https://h:x/",
        "http://h/'",
    ],
)
def test_a_mirror_must_be_a_plain_url(mirror: str) -> None:
    [problem] = check_plan(replace(PLAN, release_mirror=mirror))
    assert problem.key == "release_mirror"


def test_a_password_in_a_mirror_url_is_refused_and_hidden() -> None:
    [problem] = check_plan(replace(PLAN, release_mirror="https://me:hunter2@mirror/etcd"))
    assert "hunter2" not in str(problem)


def test_a_mirror_url_loses_its_last_slash() -> None:
    spec = member_specs(replace(PLAN, release_mirror="http://mirror/etcd/"))["etcd-1"]
    assert spec["release"]["mirror"] == "http://mirror/etcd"


@pytest.mark.parametrize(
    ("size", "count"),
    [("2GiB", 2 << 30), ("512 MiB", 512 << 20), ("65536KiB", 64 << 20), ("2147483648", 2 << 30), (1 << 30, 1 << 30)],
)
def test_a_quota_is_read_in_its_unit(size: str | int, count: int) -> None:
    assert member_specs(replace(PLAN, quota=size))["etcd-1"]["quota_bytes"] == count


@pytest.mark.parametrize(
    "size", ["2GB", "2 gib", "-1GiB", "1.5GiB", "", "1MiB", 0, -1, True, None, 1.5, "99999999999999GiB"]
)
def test_an_invalid_quota_is_refused(size: str) -> None:
    [problem] = check_plan(replace(PLAN, quota=size))
    assert problem.key == "quota"


def test_risky_settings_are_warnings() -> None:
    unwise = replace(PLAN, members=MEMBERS[:1], quota="16GiB", release_mirror="http://mirror", version="3.7.99")
    text = "\n".join(warnings(unwise))
    for part in ("8GiB", "plain http", "newer than 3.7.3", "tolerates no failures"):
        assert part in text
    assert warnings(PLAN) == []


@given(
    st.sampled_from(["3.5.35", "3.6.16", "3.7.3"]),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from(["loopback", "private"]),
    st.integers(16 << 20, 8 << 30),
)
def test_specifications_differ_only_in_the_member(version: str, count: int, metrics: str, quota: int) -> None:
    members = [MemberPlan(f"m{number}", f"10.0.0.{number + 1}") for number in range(count)]
    plan = ClusterPlan("dev", members, program="", version=version, metrics=metrics, quota=quota)
    specs = member_specs(plan)
    assert len(specs) == count
    texts = set()
    for member in members:
        spec = specs[member.name]
        assert json.loads(spec_text(spec)) == spec
        assert node_spec.parse(spec_text(spec)).quota_bytes == quota
        read = node_spec.parse(spec_text(bootstrap_spec(spec, ["m0"], "x-1")))
        assert (read.member, read.initial_members, read.token) == (member.name, ("m0",), "x-1")
        texts.add(spec_text(spec).replace(f"{member.address}:", "ADDRESS:").replace(f'": "{member.name}"', '": NAME'))
    assert len(texts) == 1


def test_every_machine_knows_additional_addresses_of_other_members() -> None:
    named = replace(MEMBERS[1], extra_names=("etcd.example", "10.9.0.2"))
    specs = member_specs(replace(PLAN, members=(MEMBERS[0], named, MEMBERS[2])))
    assert [spec["extra_addresses"] for spec in specs.values()] == [{"etcd-2": ["10.9.0.2"]}] * 3
    assert node_spec.parse(spec_text(specs["etcd-1"])).extra_addresses == {"etcd-2": ("10.9.0.2",)}


def test_users_with_a_shared_peer_ca_are_a_warning() -> None:
    users = replace(PLAN, authentication=True, users=[UserPlan("reader", "/x/", "read")])
    assert any("Block these clients from the peer port" in text for text in warnings(users))
    own = replace(users, peer_authorities=[AuthorityPlan("peer-1")], peer_issuer="peer-1")
    assert not any("peer port" in text for text in warnings(own))


def test_a_certificate_of_prometheus_with_full_access_is_a_warning() -> None:
    scraped = replace(PLAN, prometheus=True)
    assert any("client certificate of Prometheus has full access" in text for text in warnings(scraped))
    assert any("peer port" in text for text in warnings(replace(scraped, authentication=True)))
    for harmless in (replace(scraped, metrics="private"), PLAN):
        assert not any("Prometheus" in text or "peer port" in text for text in warnings(harmless))
    for name, spec in member_specs(scraped).items():
        assert spec == {**member_specs(PLAN)[name], "textfile": True}, "no member needs to know more"
    for name, spec in member_specs(replace(scraped, metrics="private")).items():
        private = member_specs(replace(PLAN, metrics="private"))[name]
        assert spec == {**private, "textfile": True, "metrics_port": 2382}

"""What a member asks the others before it installs certificates of another CA."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from components.node.cluster import rotation
from components.node.protocol import etcd, x509
from components.node.service import certificates, systemd
from components.node.shared import paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Bundle
from tests.support.authority import OwnAuthority

from .node_support import a_spec

OLD, NEW = OwnAuthority("old"), OwnAuthority("new")
SPEC = a_spec(issuer="2", peer_issuer="peer-1")
READY = etcd.Ready(ok=True, said="", certificate="")


def a_bundle(
    trusted: list[OwnAuthority],
    issuer: OwnAuthority,
    peers: list[OwnAuthority] | None = None,
    peer_issuer: OwnAuthority | None = None,
) -> Bundle:
    """A new bundle; without `peers`, peers have the same CAs."""
    lists = {"ca.crt": trusted, "peer-ca.crt": trusted if peers is None else peers}
    files = {name: "".join(each.certificate for each in authorities) for name, authorities in lists.items()}
    for kind in ("server", "peer", "healthcheck-client"):
        by = peer_issuer or issuer if kind == "peer" else issuer
        files[f"{kind}.crt"], files[f"{kind}.key"] = by.issue("etcd-1")
    return Bundle("", files)


Answers = Mapping[str, Exception]
Ask = Callable[[Bundle, Bundle | None, Answers], list[str]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ask:
    """Checks a bundle on a machine with an installed one (or none); returns the members asked, with the port."""

    def asked(bundle: Bundle, installed: Bundle | None, answers: Answers) -> list[str]:
        monkeypatch.setattr(paths, "PKI", tmp_path)
        for name, content in (installed.files if installed else {}).items():
            (tmp_path / name).write_text(content)
        names = {address: name for name, address in SPEC.members.items()}
        calls: list[str] = []

        def answer(port: str) -> Callable[..., object]:
            def one(_spec: object, address: str, place: Path) -> object:
                assert (place / "server.crt").read_text() == bundle.files["server.crt"]
                calls.append(f"{names[address]} {port}")
                error = answers.get(calls[-1])
                if error is not None:
                    raise error
                return READY

            return one

        monkeypatch.setattr(etcd, "ready", answer("client"))
        monkeypatch.setattr(etcd, "peer_view", answer("peer"))
        monkeypatch.setattr(systemd, "show", lambda: replace(_SERVICE, pid=1 if installed else 0))
        monkeypatch.setattr(rotation, "_SILENCE_SECONDS", 0.0)
        rotation.refuse_too_early(SPEC, bundle)
        return sorted(calls)

    return asked


_SERVICE = systemd.Service("active", "running", 1, 0, "success", loaded=True, needs_reload=False, has_job=False)
EVERYBODY = [f"etcd-{number} {port}" for number in (1, 2, 3) for port in ("client", "peer")]
STALE = {"etcd-2 peer": etcd.RefusedError("it refuses"), "etcd-3 client": etcd.AlienError("it presents")}


def test_renewals_and_additional_cas_ask_no_members(ask: Ask) -> None:
    now = a_bundle([OLD], OLD)
    for wanted in (now, a_bundle([OLD], OLD), a_bundle([OLD, NEW], OLD), a_bundle([NEW, OLD], OLD)):
        assert ask(wanted, now, STALE) == []


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        (a_bundle([OLD, NEW], OLD), a_bundle([OLD, NEW], NEW)),
        (a_bundle([OLD, NEW], NEW), a_bundle([OLD, NEW], OLD)),
        (a_bundle([OLD, NEW], NEW), a_bundle([NEW], NEW)),
        (a_bundle([OLD], OLD), a_bundle([OLD, NEW], NEW)),
        (a_bundle([OLD], OLD), a_bundle([NEW], NEW)),
    ],
    ids=["issue", "issue back", "drop", "trust and issue", "all at once"],
)
def test_a_new_issuer_or_dropped_ca_asks_every_member(ask: Ask, now: Bundle, wanted: Bundle) -> None:
    assert ask(wanted, now, {}) == EVERYBODY
    with pytest.raises(
        NodeError, match=r"certificates of the CA 2 are not accepted everywhere yet .etcd-2: it refuses"
    ):
        ask(wanted, now, {"etcd-2 peer": etcd.RefusedError("it refuses")})
    with pytest.raises(NodeError, match=r"no longer be trusted is still in use .etcd-3: it presents"):
        ask(wanted, now, {"etcd-3 client": etcd.AlienError("it presents")})
    with pytest.raises(NodeError, match=r"only while every member answers .etcd-3: no answer"):
        ask(wanted, now, {"etcd-3 client": etcd.SilentError("no answer")})


def test_a_joining_machine_must_not_be_refused_by_any_member(ask: Ask) -> None:
    wanted = a_bundle([OLD, NEW], NEW)
    assert ask(wanted, None, {"etcd-3 client": etcd.SilentError("no answer")})
    with pytest.raises(NodeError, match="not accepted"):
        ask(wanted, None, {"etcd-2 peer": etcd.RefusedError("it refuses")})


def test_certificates_must_verify_against_their_own_cas(ask: Ask) -> None:
    now = a_bundle([OLD], OLD)
    with pytest.raises(NodeError, match=r"do not verify server.crt"):
        ask(a_bundle([OLD], NEW), now, {})
    twin = OwnAuthority("old")  # no key identifier, so OpenSSL takes the first of that name
    with pytest.raises(NodeError, match="the same subject"):
        ask(a_bundle([OLD, twin], twin), now, {})


def test_the_digest_of_trusted_cas_ignores_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "PKI", tmp_path)
    assert certificates.trusted() == ""
    seen = []
    for bundle in (a_bundle([OLD, NEW], OLD), a_bundle([NEW, OLD], NEW), a_bundle([NEW], NEW)):
        (tmp_path / "ca.crt").write_text(bundle.files["ca.crt"])
        seen.append(certificates.trusted())
    assert seen[0] == seen[1] != seen[2]


def test_the_digest_of_a_shared_ca_list_is_stable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A new digest would make every member restart when the program is upgraded."""
    monkeypatch.setattr(paths, "PKI", tmp_path)
    (tmp_path / "ca.crt").write_text(OLD.certificate + NEW.certificate)
    one_file = certificates.trusted()
    words = "".join(x509.fingerprints(OLD.certificate + NEW.certificate))
    assert one_file == hashlib.sha256(words.encode()).hexdigest()[:16]
    (tmp_path / "peer-ca.crt").write_text(NEW.certificate + OLD.certificate)
    assert certificates.trusted() == one_file
    (tmp_path / "peer-ca.crt").write_text(NEW.certificate)
    assert certificates.trusted() != one_file


def _as_an_earlier_version_left_it(bundle: Bundle) -> Bundle:
    return Bundle("", {name: text for name, text in bundle.files.items() if name != "peer-ca.crt"})


def test_unchanged_certificates_of_earlier_versions_ask_no_members(ask: Ask) -> None:
    now = a_bundle([OLD], OLD)
    assert ask(now, _as_an_earlier_version_left_it(now), STALE) == []


def test_a_peer_ca_changes_in_the_same_three_phases(ask: Ask) -> None:
    one = a_bundle([OLD], OLD)
    trusts = a_bundle([OLD], OLD, [OLD, NEW])
    issues = a_bundle([OLD], OLD, [OLD, NEW], NEW)
    drops = a_bundle([OLD], OLD, [NEW], NEW)
    refused = {"etcd-2 peer": etcd.RefusedError("it refuses")}
    # Adding a CA asks no members; the other two phases ask all.
    assert ask(trusts, _as_an_earlier_version_left_it(one), refused) == []
    assert ask(issues, trusts, {}) == EVERYBODY
    assert ask(drops, issues, {}) == EVERYBODY
    for early, now in ((issues, one), (drops, one), (drops, trusts)):
        with pytest.raises(NodeError, match="certificates of the CA peer-1 are not accepted everywhere yet") as caught:
            ask(early, now, refused)
        assert "list it in `peerAuthorities` next to the old one, keep `peerIssuer`" in str(caught.value)
    with pytest.raises(NodeError, match=r"no longer be trusted is still in use .etcd-2: it presents"):
        ask(drops, issues, {"etcd-2 peer": etcd.AlienError("it presents")})
    # A renewal of the other certificates asks no members.
    assert ask(a_bundle([OLD], OLD, [NEW], NEW), drops, STALE) == []


def test_peer_certificates_must_verify_against_their_own_cas(ask: Ask) -> None:
    with pytest.raises(NodeError, match=r"the CAs in peer-ca.crt do not verify peer.crt"):
        ask(a_bundle([OLD], OLD, [NEW], OLD), a_bundle([OLD], OLD), {})

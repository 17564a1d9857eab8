"""Files of Cluster API come from its tag, or from the Go module; both only with the pinned checksums."""

from pathlib import Path

import pytest

from tools import cluster_api
from tools.base import ToolError
from tools.cluster_api import Source, ensure_cluster_api
from tools.download import sha256


@pytest.fixture
def tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only file of a source, at its tag; there is no go."""
    file = tmp_path / "tags" / "capi" / "v1" / "bases" / "crd.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("kind: CustomResourceDefinition\n")
    source = Source("example.com/capi", "1.0.0", "capi/v1", {"bases/crd.yaml": sha256(file)})
    monkeypatch.setattr(cluster_api, "SOURCES", (source,))
    monkeypatch.setattr(cluster_api, "TAGS", (tmp_path / "tags").as_uri())
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda _name: None)
    return file


def test_a_file_is_got_from_its_tag_once(tagged: Path) -> None:
    text = tagged.read_text()
    [found] = ensure_cluster_api()
    assert found.read_text() == text
    tagged.unlink()
    assert ensure_cluster_api() == [found]


def test_a_file_with_another_checksum_is_not_used(tagged: Path) -> None:
    tagged.write_text("kind: Other\n")
    with pytest.raises(ToolError, match=r"crd\.yaml has the SHA-256 .* go is missing"):
        ensure_cluster_api()


def test_every_file_is_pinned() -> None:
    assert [len(digest) for source in cluster_api.SOURCES for digest in source.files.values()] == [64] * 11

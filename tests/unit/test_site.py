"""The documents as a site: complete, without broken links, and readable without a server or the internet."""

import html.parser
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import site
from tools.base import ToolError

REPO = Path(__file__).resolve().parents[2]
CODE = "https://example.com/external-etcd/blob/main"


class Page(html.parser.HTMLParser):
    """What a page has and refers to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        """What a browser fetches by itself."""
        self.blocks = 0
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.blocks += tag == "pre"
        if tag == "a":
            self.links.add(given.get("href", ""))
        else:
            self.loads |= {given[name] for name in ("href", "src") if name in given}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's folder."""
    folder = tmp_path_factory.mktemp("site")
    site.build(folder, f"{CODE}/")
    return folder


@pytest.fixture(scope="module")
def built(output: Path) -> dict[str, Page]:
    """The site's pages: path -> page."""
    found = {path.relative_to(output).as_posix(): path for path in output.rglob("*.html") if path.name != "404.html"}
    return {name: Page(path) for name, path in found.items()}


def _written(page: str) -> str:
    return re.sub(r"README$", "index", page.removesuffix(".md")) + ".html"


def _relative(links: set[str]) -> Iterator[tuple[str, str]]:
    for link in links:
        if link and not re.match(r"https?:|mailto:", link):
            yield link.partition("#")[0], link.partition("#")[2]


def test_every_document_is_a_page_with_all_its_blocks(built: dict[str, Page]) -> None:
    for document in site.pages(REPO):
        fences = re.findall(r"^ *(`{3,})\w*\n.*?^ *\1$", (REPO / document).read_text(), re.MULTILINE | re.DOTALL)
        assert built[_written(document)].blocks == len(fences), document
    assert len(built) > 35


def test_every_link_and_anchor_of_the_site_leads_somewhere(built: dict[str, Page]) -> None:
    for name, page in built.items():
        for target, anchor in _relative(page.links):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) if target else name
            assert path in built, f"{name} links to {target}"
            assert not anchor or anchor in built[path].anchors, f"{name} links to {target}#{anchor}"


def test_links_to_code_lead_to_files_of_the_repository(built: dict[str, Page]) -> None:
    code = {link for page in built.values() for link in page.links if link.startswith(CODE)}
    assert f"{CODE}/tests/lab/test_bootstrap.py" in code
    assert [link for link in code if not (REPO / link.removeprefix(f"{CODE}/").partition("#")[0]).exists()] == []


def test_a_page_fetches_nothing_from_elsewhere(built: dict[str, Page]) -> None:
    for name, page in built.items():
        assert [each for each in page.loads if re.match(r"(https?:)?//", each)] == [], name
        assert any(each.endswith("iframe-worker.js") for each in page.loads), "it searches without a server"


def test_links_to_code_are_text_if_the_code_has_no_address() -> None:
    text = "\n".join(
        [
            "[a test](../tests/lab/test_size.py#L3), [a page](aws.md#ssh), [here](#below), [etcd](https://etcd.io)",
            "![picture](overview.svg), [why](decisions/)",
            "```sh",
            "echo '[a test](../tests/lab/test_size.py)'",
            "```",
        ]
    )
    plain = site.for_the_site(text, "docs/x.md", lambda path: path.startswith("tests/"), "")
    assert plain == text.replace("[a test](../tests/lab/test_size.py#L3)", "a test", 1).replace(
        "(decisions/)", "(decisions/README.md)"
    )
    linked = site.for_the_site(text, "docs/x.md", lambda path: path.startswith("tests/"), CODE)
    assert f"[a test]({CODE}/tests/lab/test_size.py#L3)" in linked
    assert linked.count(CODE) == 1


def test_a_drawn_diagram_is_refused_and_one_in_an_example_is_shown() -> None:
    block = "```mermaid\nflowchart TD\n```"
    with pytest.raises(ToolError, match=r"docs/x\.md has a mermaid block"):
        site.for_the_site(block, "docs/x.md", bool, "")
    example = f"````markdown\n{block}\n````"
    assert site.for_the_site(example, "docs/x.md", bool, "") == example


def test_broken_links_and_anchors_and_hidden_pages_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (REPO / "docs" / "site" / "mkdocs.yml").read_text()
    (tmp_path / "docs" / "site").mkdir(parents=True)
    own = re.sub(
        r"(?s)^nav:.*?(?=^theme:)", "nav: [README.md, docs/decisions/README.md]\n", settings, flags=re.MULTILINE
    )
    (tmp_path / "docs" / "site" / "mkdocs.yml").write_text(own)
    for name in ("iframe-worker.js", "site.css"):
        (tmp_path / "docs" / "site" / name).touch()
    (tmp_path / "README.md").write_text("# Home\n\n[gone](docs/gone.md), [no title](docs/hidden.md#none)\n")
    (tmp_path / "docs" / "hidden.md").write_text("# Hidden\n")
    monkeypatch.setattr(site, "REPOSITORY", tmp_path)
    monkeypatch.setattr(site, "CONFIGURATION", tmp_path / "docs" / "site")
    requirements = (REPO / "requirements-docs.txt").read_bytes()
    (tmp_path / "requirements-docs.txt").write_bytes(requirements)
    with pytest.raises(ToolError) as refused:
        site.build(tmp_path / "built")
    said = str(refused.value)
    assert "'docs/gone.md', but the target is not found" in said
    assert "does not contain an anchor '#none'" in said
    assert "docs/hidden.md" in said and "not included in the" in said


def test_a_folder_with_other_files_is_not_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.md").write_text("years of work")
    for given in (tmp_path, tmp_path / "thesis.md"):
        assert site.main([f"--output={given}"]) == 1
        assert "has other files, and all in it would be deleted" in capsys.readouterr().err
    assert (tmp_path / "thesis.md").read_text() == "years of work"


def test_the_search_has_the_documents(output: Path) -> None:
    index = json.loads((output / "search" / "search_index.json").read_text())
    assert {"Data corruption (alarm CORRUPT)", "Downgrade"} <= {page["title"] for page in index["docs"]}
    assert (output / "search" / "search_index.js").stat().st_size > 100_000, "it is there for a site without a server"

"""The site of the documentation: its list of pages is current, and what leads nowhere is found."""

import re

import pytest
from helpers import ROOT
from helpers.scripts import script

from lightning_gen.config.composition import compose
from lightning_gen.config.options import list_groups, list_options

docs_site = script("docs_site")
HELP = ("docs/coming_from.md", "docs/troubleshooting.md")


def test_the_list_for_language_models_is_current():
    assert docs_site.LLMS.read_text() == docs_site.llms_text(), "run scripts/docs_site.py llms=true"


def test_every_page_is_in_the_navigation():
    listed = [page for pages in docs_site.sections().values() for page in pages]
    assert len(listed) == len(set(listed))
    assert {docs_site.path_of(page) for page in (ROOT / "docs").rglob("*.md")} <= set(listed)
    assert all((ROOT / page).is_file() for page in listed)


def test_links_and_formulas_are_those_of_the_site(tmp_path):
    pytest.importorskip("latex2mathml")
    source = docs_site.Source(tmp_path)
    text = source._converted(
        "[a](../README.md#start) ![b](vae.png) [c](../conf/model/vae.yaml) $x_1$ `$y$`", "docs/gpu.md"
    )
    assert text.startswith("[a](index.md#start) ![b](vae.png) [c](code/conf/model/vae.yaml.md) <span")
    assert "<msub>" in text
    assert text.endswith(" `$y$`")
    assert (tmp_path / "vae.png").is_file()
    source._converted("[x](nowhere.md)", "docs/gpu.md")
    assert source.broken == ["docs/gpu.md: (nowhere.md) leads to no file"]


def test_dead_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#there"></a><a href="b.html#gone"></a><img src="c.png">')
    (tmp_path / "b.html").write_text('<h2 id="there"></h2><a href="https://example.org/x"></a><a href="#"></a>')
    assert sorted(docs_site.dead_links(tmp_path)) == [
        "a.html: b.html#gone leads to no anchor",
        "a.html: c.png leads to no file",
    ]


def test_what_is_loaded_from_elsewhere_is_found(tmp_path):
    own = '<script src="a.js"></script><a href="https://example.org"></a><link rel="canonical" href="https://x.org">'
    foreign = '<script src="//x.org/a.js"></script><link rel="stylesheet" href="https://x.org/a.css">'
    (tmp_path / "a.html").write_text(own)
    assert not list(docs_site.foreign_files(tmp_path))
    (tmp_path / "a.html").write_text(f'{own}{foreign}<pre class="mermaid">')
    places = ("//x.org/a.js", "https://x.org/a.css", "https://unpkg.com/mermaid")
    assert list(docs_site.foreign_files(tmp_path)) == [f"a.html: loads {place}" for place in places]


@pytest.mark.parametrize("page", HELP)
def test_options_that_are_named_exist(page):
    groups = {group: {option.name for option in list_options(group)} for group in list_groups()}
    here = re.sub(r"^\|[^|]*\|", "", (ROOT / page).read_text(), flags=re.M)  # the first column is of others
    named = re.findall(r"[` ]([\w/]+)(?:@[\w.]+)?=\[?([\w/,+-]+)", here)
    checked = [(group, name.lstrip("+-")) for group, names in named if group in groups for name in names.split(",")]
    assert len(checked) > 5
    assert not [pair for pair in checked if pair[1] not in groups[pair[0]] | {"NAME", "MODEL"}]


@pytest.mark.slow
@pytest.mark.parametrize("page", HELP)
def test_commands_compose(page):
    commands = set(re.findall(r"`lightning-gen train ([^`]+)`", (ROOT / page).read_text()))
    for words in commands - {w for w in commands if "again=" in w or w.startswith("-m")}:
        compose(words)


@pytest.mark.slow
def test_the_site_has_no_dead_link(tmp_path):
    pytest.importorskip("zensical")
    page = docs_site.build(tmp_path)
    text = page.read_text()
    assert "lightning-gen" in text
    assert not list(docs_site.foreign_files(tmp_path / "html"))
    assert (tmp_path / "html" / "search.json").is_file()
    assert "<math" in (tmp_path / "html" / "tutorial.html").read_text()

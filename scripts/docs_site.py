"""Build the site of the documentation: python scripts/docs_site.py [out=build/docs] [llms=true]

The pages are README.md, docs/ and others that docs/site.toml names, as they are on GitHub. Links to code become pages
with that file, formulas become MathML, and zensical makes HTML with a search of it. A link that leads nowhere, or to an
anchor that is not there, ends it, and so does a page that loads anything from another server. With llms=true only
docs/llms.txt is written, the list of pages for language models.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site.toml"
LLMS = ROOT / "docs" / "llms.txt"
GENERATED = {"Reference": "docs/reference", "API": "docs/api"}  # sections with all pages of a folder
OTHERS = "More"  # the section of pages that docs/site.toml does not name
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".ipynb": "json"}
_FENCE = re.compile(r"(^ *```.*?^ *```)", re.M | re.S)
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\])\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
_FORMULA = re.compile(r"(?<![\\$`\w])\$(?=\S)([^$`\n]+(?:\n[^$`\n]+)?)(?<=\S)\$(?![\w$])")


def sections() -> dict[str, list[str]]:
    """The pages of each section of the navigation, as paths in the repository."""
    found: dict[str, list[str]] = {}
    for entry in tomllib.loads(SITE.read_text())["project"]["nav"]:
        ((title, pages),) = entry.items()
        found[title] = [pages] if isinstance(pages, str) else list(pages)
    for title, folder in GENERATED.items():
        listed = {page for pages in found.values() for page in pages}
        found[title] += sorted({path_of(page) for page in (ROOT / folder).glob("*.md")} - listed)
    listed = {page for pages in found.values() for page in pages}
    if rest := sorted({path_of(page) for page in (ROOT / "docs").rglob("*.md")} - listed):
        found[OTHERS] = rest
    return found


def path_of(file: Path) -> str:
    """A file's path in the repository."""
    return file.relative_to(ROOT).as_posix()


def place_of(path: str) -> str:
    """Where a file of the repository is on the site: README.md is the first page of its folder, docs/ is left out."""
    place = PurePosixPath(path.removeprefix("docs/"))
    return str(place.with_name("index.md")) if place.name == "README.md" else str(place)


def title_of(page: str) -> str:
    """The first heading of a page."""
    heading = re.search(r"^# (.+)$", (ROOT / page).read_text(), re.M)
    return heading[1].strip("`") if heading else page


def summary_of(page: str) -> str:
    """The first sentence of a page below its heading."""
    body = _FENCE.sub("", (ROOT / page).read_text()).split("\n\n")[1:]
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", part).replace("\n", " ").strip("* ") for part in body)
    prose = [part for part in plain if (re.match(r"[A-Z`*\u4e00-\u9fff]", part) and " " in part) or "\u3002" in part]
    return re.split(r"(?<=[.:\u3002])\s", prose[0], maxsplit=1)[0].rstrip(":") if prose else ""


def llms_text() -> str:
    """The list of all pages, https://llmstxt.org, with paths in the repository."""
    lines = ["# lightning-gen", "", f"> {tomllib.loads(SITE.read_text())['project']['site_description']}"]
    for title, pages in sections().items():
        lines += ["", f"## {title}", ""]
        for page in pages:
            link = relpath(page, "docs")
            lines.append(f"- [{title_of(page)}]({link})" + (f": {summary}" if (summary := summary_of(page)) else ""))
    return "\n".join(lines) + "\n"


class Source:
    """The site's source in a folder: pages, their pictures, and a page for each file of code that they link to."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.pages = [page for pages in sections().values() for page in pages]
        self.code: set[str] = set()
        self.broken: list[str] = []

    def write(self) -> None:
        """Write all pages; SystemExit with the links that lead nowhere."""
        for page in self.pages:
            parts = _FENCE.split((ROOT / page).read_text())
            text = "".join(part if index % 2 else self._converted(part, page) for index, part in enumerate(parts))
            self._save(place_of(page), text)
        for path in sorted(self.code):
            text = (ROOT / path).read_text()
            fence = f"# {path}\n\n````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}````\n"
            self._save(f"code/{path}.md", f"---\nsearch:\n  exclude: true\n---\n\n{fence}")
        if self.broken:
            sys.exit("\n".join(self.broken))

    def _converted(self, text: str, page: str) -> str:
        """Prose with links of the site, and formulas in MathML."""
        code = re.split(r"(`+[^`\n](?:[^`]|\n(?!\n))*?`+)", text)
        text = "".join(part if index % 2 else _FORMULA.sub(mathml, part) for index, part in enumerate(code))
        return _LINK.sub(lambda link: f"{link[1]}({self._target(link[2], page)}{link[3] or ''})", text)

    def _target(self, target: str, page: str) -> str:
        """The place of a link's target, relative to the place of its page; files of code become pages."""
        path = normpath(str(PurePosixPath(page).parent / target))
        if (ROOT / path).is_dir() and (ROOT / path / "README.md").is_file():
            path = f"{path}/README.md"
        if not (ROOT / path).is_file() or path.startswith(".."):
            self.broken.append(f"{page}: ({target}) leads to no file")
            return target
        place = place_of(path)
        if path not in self.pages and Path(path).suffix in (".png", ".gif", ".jpg"):
            self._copy(path, place)
        elif path not in self.pages:
            self.code.add(path)
            place = f"code/{path}.md"
        return relpath(place, str(PurePosixPath(place_of(page)).parent))

    def _copy(self, path: str, place: str) -> None:
        (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, self.folder / place)

    def _save(self, place: str, text: str) -> None:
        (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / place).write_text(text)


def mathml(formula: re.Match[str]) -> str:
    """A formula in LaTeX as MathML, which browsers draw by themselves."""
    from latex2mathml.converter import convert

    return f'<span class="formula">{convert(formula[1])}</span>'  # a line that begins with <math> would be no Markdown


def settings() -> str:
    """The configuration for zensical: docs/site.toml with the places of all pages."""
    lines = [f'    {{ "{title}" = {[place_of(page) for page in pages]} }},' for title, pages in sections().items()]
    nav = "\n".join(["nav = [", *lines, "]"])
    return re.sub(r"^nav = \[.*?^\]", lambda _: nav, SITE.read_text(), count=1, flags=re.M | re.S)


class Page(HTMLParser):
    """The anchors of a page of HTML, what it links to, and what it loads."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note `id`, `href` and `src`."""
        values: Mapping[str, Any] = dict(attrs)
        is_loaded = tag == "link" and values.get("rel") not in ("canonical", "next", "prev")
        self.loaded += [link for key in ("src", *["href"] * is_loaded) if (link := values.get(key))]
        if "mermaid" in (values.get("class") or "").split():  # zensical's script loads another one to draw it
            self.loaded.append("https://unpkg.com/mermaid")
        self.anchors.add(values.get("id") or "")
        self.links += [link for key in ("href", "src") if (link := values.get(key)) and tag != "base"]


def dead_links(html: Path) -> Iterator[str]:
    """The links of a built site to files or anchors that it does not have."""
    pages = {path: Page(path.read_text()) for path in html.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links if path.name != "404.html" else ():
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists():
                yield f"{path.relative_to(html)}: {link} leads to no file"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{path.relative_to(html)}: {link} leads to no anchor"


def foreign_files(html: Path) -> Iterator[str]:
    """What pages of a built site load from other servers."""
    for path in html.rglob("*.html"):
        loaded = Page(path.read_text()).loaded
        yield from (f"{path.relative_to(html)}: loads {link}" for link in loaded if urlsplit(link).netloc)


def build(out: Path) -> Path:
    """Build the site in `out`; its first page. SystemExit for dead links, and for what pages load from elsewhere."""
    shutil.rmtree(out / "pages", ignore_errors=True)
    Source(out / "pages").write()
    (out / "zensical.toml").write_text(settings())
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    if status := subprocess.run(command, cwd=out).returncode:
        sys.exit(status)
    if wrong := sorted({*dead_links(out / "html"), *foreign_files(out / "html")}):
        sys.exit("\n".join(wrong))
    return out / "html" / "index.html"


def main() -> None:
    """Build the site, or write docs/llms.txt."""
    LLMS.write_text(llms_text())
    if "llms=true" not in sys.argv:
        out = next((text.removeprefix("out=") for text in sys.argv if text.startswith("out=")), "build/docs")
        print(build(Path(out).absolute()))


if __name__ == "__main__":
    main()

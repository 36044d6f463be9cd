"""Write docs/api/: the signatures and docstrings of all names that docs/plugins.md says plugins may import.

usage: python scripts/api_pages.py

Nothing is imported: the pages are made from the source, so they are the same on any machine.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "api"
CONTRACT = ROOT / "docs" / "plugins.md"
# What Lightning and PyTorch call by themselves.
HOOKS = re.compile(r"_|on_|configure_|(training|validation)_step$|(setup|train)$|(train|val)_dataloader$|transfer_")
WIDTH = 120  # of a signature on one line
FIRST = "lightning_gen"  # the page of the modules in the package's root

Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@cache
def contract() -> dict[str, list[str]]:
    """The names of each module, by the rows `| module | names |` of docs/plugins.md."""
    section = CONTRACT.read_text().partition("## What a plugin may import")[2].partition("\n## ")[0]
    rows = re.finditer(r"^\| `(lightning_gen[\w.]*)` \| (.*) \|$", section, re.M)
    return {row[1]: re.findall(r"`(\w+)`", row[2]) for row in rows}


def pages() -> dict[Path, str]:
    """The text of each page: one for each package, and one for the modules in the root."""
    rows = contract()
    names = dict.fromkeys(map(page_of, rows))
    texts = {}
    for page in names:
        modules = [module for module in rows if page_of(module) == page]
        sections = "\n".join(part for module in modules for part in section_of(module, rows[module]))
        note = "*Made from the docstrings by `scripts/api_pages.py`. [What a plugin may import](../plugins.md).*"
        texts[PAGES / f"{page}.md"] = f"# {page}\n\n{note}\n\n{sections}"
    return texts


def page_of(module: str) -> str:
    """The name of the page that a module is on."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / "lightning_gen" / parts[1]).is_dir() else FIRST


def section_of(module: str, names: list[str]) -> Iterator[str]:
    """The section of a module: its names in the order of the contract."""
    yield f"## `{module}`\n"
    for name in names:
        home, node = find(module, name)
        yield f"### {name}\n"
        yield from described(home, name, node)


@cache
def tree_of(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path_of(module).read_text())


def path_of(module: str) -> Path:
    """The file of a module."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def find(module: str, name: str) -> tuple[str, Definition]:
    """The module in which a name is defined, and its definition: imports are followed."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
    for node in tree_of(module).body:
        if name in names_of(node):
            assert isinstance(node, Definition)
            return module, node
    raise LookupError(f"{module} has no {name}; fix the table in {CONTRACT.relative_to(ROOT)}")


def names_of(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def described(module: str, name: str, node: Definition) -> Iterator[str]:
    """Signature and docstring; of a class also its attributes and methods."""
    if isinstance(node, ast.FunctionDef):
        yield code(signature(node))
        yield from docstring(node)
    elif isinstance(node, ast.ClassDef):
        yield from class_of(module, node)
    else:
        yield code(line_of(module, node))


def class_of(module: str, node: ast.ClassDef) -> Iterator[str]:
    """A class: its constructor, docstring, attributes and methods."""
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    made = next((each for each in methods if each.name == "__init__"), None)
    bases = [ast.unparse(base) for base in node.bases]
    head = f"class {node.name}({', '.join(bases)})" if bases else f"class {node.name}"
    yield code(head if made is None else f"{head}\n\n{signature(made, node.name)}")
    yield from docstring(node)
    homes = {name: page_of(home) for home, names in contract().items() for name in names}
    if linked := [f"[{base}]({homes[base]}.md#{base.lower()})" for base in bases if base in homes]:
        yield f"It has the methods and attributes of {' and '.join(linked)} as well.\n"
    if attributes := list(attributes_of(module, node, made)):
        yield code("\n".join(attributes))
    for method in methods:
        if not HOOKS.match(method.name):
            yield code(signature(method))
            yield from docstring(method)


def attributes_of(module: str, node: ast.ClassDef, made: ast.FunctionDef | None) -> Iterator[str]:
    """The lines of a class's public attributes, and those of its instances that the constructor sets."""
    for each in node.body:
        if isinstance(each, ast.Assign | ast.AnnAssign) and not all(name.startswith("_") for name in names_of(each)):
            yield line_of(module, each)
    if made is None:
        return
    hints = {argument.arg: argument.annotation for argument in [*made.args.args, *made.args.kwonlyargs]}
    for each in ast.walk(made):
        for name, value, hint in assigned_to_self(each):
            known = hint or (hints.get(value.id) if isinstance(value, ast.Name) else None)
            comment = line_of(module, each).partition("  # ")[2]
            yield name + (f": {ast.unparse(known)}" if known else "") + (f"  # {comment}" if comment else "")


def assigned_to_self(node: ast.AST) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """The public attributes that a statement sets on `self`, with their value and annotation."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    hint = node.annotation if isinstance(node, ast.AnnAssign) else None
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    for target in targets:
        parts, values = [target], [value]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            parts, values = target.elts, value.elts
        for part, its in zip(parts, values, strict=True):
            if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self" and not part.attr.startswith("_"):
                yield part.attr, its, hint


def line_of(module: str, node: ast.stmt | ast.AST) -> str:
    """A statement on one line, with the comment at its end."""
    lines = path_of(module).read_text().splitlines()
    comment = lines[node.end_lineno - 1].partition("  # ")[2]  # pyrefly: ignore[missing-attribute]
    comment = "" if comment.startswith("pyrefly") else comment.partition("  # pyrefly")[0]
    return ast.unparse(node) + (f"  # {comment}" if comment else "")


def signature(function: ast.FunctionDef, name: str | None = None) -> str:
    """The first line of a function, without `self`; of a constructor, called by the name of its class."""
    kinds = {ast.unparse(each).partition("(")[0] for each in function.decorator_list}
    returns = f" -> {ast.unparse(function.returns)}" if function.returns and name is None else ""
    if kinds & {"property", "cached_property"}:
        return f"{function.name}: {ast.unparse(function.returns) if function.returns else 'Any'}  # property"
    arguments = ast.unparse(function.args)
    arguments = re.sub(r"^(self|cls)(, |$)", "", arguments)
    marks = "".join(f"@{kind}\n" for kind in ("classmethod", "contextmanager") if kind in kinds)
    line = f"{name or function.name}({arguments}){returns}"
    if len(line) > WIDTH:
        line = "\n    ".join([f"{name or function.name}(", *(f"{each}," for each in separate(arguments))])
        line += f"\n){returns}"
    return marks + line


def separate(arguments: str) -> list[str]:
    """The arguments in a text, each by itself: commas in brackets separate none."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def docstring(node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    """The docstring, if there is one."""
    text = ast.get_docstring(node, clean=False)
    if text:
        yield inspect.cleandoc(text) + "\n"


def code(text: str) -> str:
    """A block of Python."""
    return f"```python\n{text}\n```\n"


def main() -> None:
    """Write the pages; those of names that are no longer there go."""
    texts = pages()
    PAGES.mkdir(exist_ok=True)
    for path in set(PAGES.glob("*.md")) - set(texts):
        path.unlink()
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    main()

"""The rooms of the package, as docs/architecture.md has them: imports go down the list of layers, and only down."""

import ast
from collections.abc import Iterator
from pathlib import Path

import lightning_gen

PACKAGE = Path(lightning_gen.__file__).parent
# From the top floor to the ground; no module imports its own floor's neighbors.
LAYERS = [
    "testing __main__ __init__",
    "cli",
    "training view",
    "callbacks sharing",
    "report",
    "evaluation",
    "metrics",
    "extractors",
    "trainer",
    "checkpoint runs",
    "origins",
    "models config sampling",
    "image_generator",
    "networks data images",
    "losses",
    "optim",
    "batch bounds capabilities errors randomness",
    "utilities",
]
FLOOR = {name: len(LAYERS) - index for index, names in enumerate(LAYERS) for name in names.split()}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """The modules of lightning_gen that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "lightning_gen":
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if is_module(name) else node.module for name in submodules)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "lightning_gen")


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_every_room_has_a_floor():
    assert {room(path) for path in MODULES} == set(FLOOR)


def test_the_root_is_small():
    assert len(list(PACKAGE.glob("*.py"))) <= 12


def test_imports_go_down():
    wrong = []
    for path in MODULES:
        for name in imports(path):
            here, there = room(path), [*name.split("."), "__init__"][1]
            if here != there and FLOOR[here] <= FLOOR[there]:
                wrong.append(f"{path.relative_to(PACKAGE)} ({here}) imports {name}")
    assert not wrong


def test_no_imports_in_a_circle():
    names = {".".join(("lightning_gen", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in MODULES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph = {name: {each for each in imports(path) if each in names and each != name} for name, path in names.items()}
    while leaves := {name for name, needed in graph.items() if not needed & graph.keys()}:
        graph = {name: needed for name, needed in graph.items() if name not in leaves}
    assert not graph, f"in a circle, or above one: {sorted(graph)}"


def test_each_command_is_a_module_of_its_name():
    from lightning_gen.cli.commands import COMMANDS

    files = {path.stem.replace("_", "-") for path in (PACKAGE / "cli/commands").glob("*.py")} - {"--init--"}
    assert files == set(COMMANDS)

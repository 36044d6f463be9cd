"""Plugin packages as pip would leave them."""

from pathlib import Path


def make_plugin(
    site: Path,
    name: str,
    files: dict[str, str],
    *,
    entry_point: str | None = "",
    version: str = "1.2",
    requires: str | None = None,
    code: str = "raise RuntimeError('imported')\n",
):
    """A package `name` with `files` under conf/ in `site`, and the metadata that pip writes.

    `entry_point` is the package that the entry point names (by default `name`); None leaves the metadata out.
    """
    package = site / name
    package.mkdir(parents=True, exist_ok=True)
    # Finding a plugin must not run its code.
    (package / "__init__.py").write_text(code)
    for path, text in files.items():
        (package / "conf" / path).parent.mkdir(parents=True, exist_ok=True)
        (package / "conf" / path).write_text(text)
    if entry_point is not None:
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        (info / "entry_points.txt").write_text(f"[lightning_gen.plugins]\n{name} = {entry_point or name}\n")
    return package

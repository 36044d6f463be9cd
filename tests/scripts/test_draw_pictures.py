"""The set of drawn pictures: the same for the same arguments, and never over other files."""

import pytest
from helpers.scripts import script
from PIL import Image


@pytest.fixture
def drawing():
    return script("draw_pictures")


def test_drawn_pictures(drawing, tmp_path):
    for name, n in (("a", "12"), ("b", "8")):
        drawing.main([str(tmp_path / name), f"n={n}", "size=16"])
    a, b = ({path.relative_to(folder): path for path in folder.rglob("*.png")} for folder in sorted(tmp_path.iterdir()))
    assert {path.parent.name for path in a} == {"faces", "fish", "flowers", "houses"}
    assert len({path.read_bytes() for path in a.values()}) == 12 > len(b) == 8
    assert all(path.read_bytes() == a[name].read_bytes() for name, path in b.items())
    with Image.open(a[min(a)]) as image:
        assert (image.size, image.mode) == ((16, 16), "RGB")


@pytest.mark.parametrize(("arguments", "message"), [([], "n=2400"), (["x"], "is there already"), (["y", "m=3"], "m=3")])
def test_what_is_wrong_is_said_and_nothing_is_overwritten(drawing, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").touch()
    with pytest.raises(SystemExit, match=message):
        drawing.main(arguments)
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "mine"]

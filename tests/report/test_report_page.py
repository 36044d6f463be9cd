"""The page of a run: it shows what the folder holds, loads nothing, and is safe with the folder of a stranger."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from helpers import ROOT

from lightning_gen.cli import main
from lightning_gen.config.composition import compose
from lightning_gen.errors import UserError
from lightning_gen.report.contents import read_contents
from lightning_gen.report.page import CITATION, FILE, render, write_report
from lightning_gen.runs.files import inside
from lightning_gen.runs.heartbeat import HEARTBEAT
from lightning_gen.utilities.atomic_files import place

SECTIONS = ["samples", "scores", "curves", "config", "environment", "commands", "cite", "log"]
HOSTILE = "</script><script>alert(1)</script><img src=//x.example/y>"
LOADING = {"src", "srcset", "data", "poster", "action", "background", "ping"}


class Page(HTMLParser):
    """The elements of a page and their attributes, and the content of its scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and self.scripts:
            self.scripts[-1] += data

    def ids(self, tag: str) -> list[str]:
        return [attributes["id"] for name, attributes in self.elements if name == tag and "id" in attributes]


def check_safe(text: str) -> Page:
    """Nothing is loaded, two scripts of ours run or hold data, and links lead to arXiv or into the page."""
    page = Page(text)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        loaded = [value for name, value in attributes.items() if name in LOADING or (tag == "link" and name == "href")]
        assert all(value.startswith("data:") for value in loaded), (tag, attributes)
        if tag == "a":
            assert re.match(r"#|https://arxiv\.org/abs/[\d.]+$", attributes["href"])
    assert len(page.scripts) == 2
    json.loads(page.scripts[0])
    assert not re.search(r"https?://(?!arxiv\.org/abs/|www\.w3\.org/2000/svg)", text)
    return page


@pytest.fixture
def scored(tiny_run):
    """A run folder with scores, and with a class of a hostile name in them."""
    folder = tiny_run()
    write_scores(folder)
    return folder


def write_scores(folder: Path) -> None:
    name, origin = "kid/tiny", {"metric": "kid", "extractor": None, "of_samples": True, "splits": ["test"]}
    entry = {
        "scores": {name: 0.5},
        "better": {name: "lower"},
        "uncertainty": {name: {"std": 0.012, "over": "images"}},
        "origin": {name: origin},
        "real_against_real": {name: {"value": 0.01, "images": 8, "uncertainty": {"std": 0.002, "over": "pairs"}}},
        "curves": {"kid_of_frames": [1.0, None, 3.0]},
        "tables": {"classes": {"class": [HOSTILE], "recall": [None]}},
        "pictures": {"confusion_matrix": "../outside.png"},
        "protocol": {
            **{"data": "fake", "split": "test", "images": {}, "binarize": False, "n_real": 8, "n_fake": 8},
            **{"extractors": {}, "metrics": {"kid": {"subsets": 3}}, "versions": {"torch": "9.9"}, "images_seen": 64},
        },
        "skipped": {"frechet": "too few"},
        "warnings": [HOSTILE],
        "seconds": 1.0,
        "time": "2030-01-01T00:00:00",
    }
    (folder / "evaluation.json").write_text(json.dumps([entry]))


def test_training_leaves_a_page_of_all_sections(scored):
    page = check_safe((scored / FILE).read_text())
    assert page.ids("section") == SECTIONS
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 2
    assert all(picture["alt"].endswith("after 64 images") for picture in pictures)
    assert re.search(r"^report: .*/report\.html$", (scored / "log.txt").read_text(), re.MULTILINE)
    charts = json.loads(page.scripts[0])
    assert charts[0]["title"] == "loss"
    assert {curve["name"] for curve in charts[0]["curves"]} == {"train", "val"}


def test_scores_come_with_uncertainty_protocol_and_floor(scored):
    text = render(read_contents(scored))
    page = check_safe(text)
    assert "0.500 ± 0.012" in text
    assert "0.0100 ± 0.0020" in text  # real against real
    assert "lower is better" in text
    assert "metrics.kid.subsets" in text
    assert "versions.torch" in text
    assert "Skipped metrics" in text
    last = json.loads(page.scripts[0])[-1]
    assert last["curves"] == [{"name": "kid of frames", "x": [1, 3], "y": [1.0, 3.0]}]  # JSON has no NaN


def test_values_that_are_no_defaults_are_told(scored):
    settings = read_contents(scored).settings
    assert not settings.unknown
    changed = {row.key: (row.value, row.default) for row in settings.differences}
    assert changed["model.encoder.width"] == ("8", str(compose().model.encoder.width))
    assert changed["data.image_shape"][0] == "[1, 12, 12]"
    assert "run_dir" not in changed
    assert "callbacks.sample_grid.folder" not in changed
    assert "model.likelihood._target_" not in changed  # which follows the data
    assert settings.choices["data"] == "fake"


def test_a_strangers_names_are_escaped(scored):
    (scored / "log.txt").write_text(f"warning: {HOSTILE}\x1b[31m \u202egnp.exe\n")
    header, *rows = (scored / "metrics.csv").read_text().splitlines()
    (scored / "metrics.csv").write_text("\n".join([f"{header},train/{HOSTILE}", *(f"{row},1" for row in rows)]) + "\n")
    (scored / "samples/samples_0000000064.png").rename(scored / f"samples/{HOSTILE.replace('/', '')}_0000000064.png")
    (scored / "checkpoints" / "<b>.ckpt").touch()
    config = yaml.safe_load((scored / "config.yaml").read_text())
    config["data"]["name"] = config["options"][0] = HOSTILE
    (scored / "config.yaml").write_text(yaml.safe_dump(config))
    entry = {"command": ["lightning-gen", HOSTILE], "outcome": HOSTILE, "git": {"commit": HOSTILE, "dirty": True}}
    (scored / "environment.json").write_text(json.dumps([entry | {"packages": {HOSTILE: HOSTILE}}]))
    text = render(read_contents(scored))
    page = check_safe(text.replace("//x.example", ""))
    assert not {"b", "iframe"} & {tag for tag, _ in page.elements}
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("<script") == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation.json", "[" * 100_000),
        ("evaluation.json", '[{"scores": {"a": {}}, "protocol": {}, "origin": {}}]'),
        ("evaluation.json", '{"no": "evaluations"}'),
        ("metrics.csv", "images,train/loss\n1,2\n" + '"' * 200_000),
        ("config.yaml", "a: &a [1]\nb: *a\n"),
        ("config.yaml", "[1]"),
        ("environment.json", '{"command": 1}'),
        ("environment.json", '[{"packages": 3}]'),
        ("log.txt", "\x00\xff"),
        ("samples/samples_0000000064.png", "no picture"),
    ],
)
def test_damaged_files_are_left_out(scored, name, content):
    (scored / name).write_text(content, encoding="latin-1")
    page = check_safe(render(read_contents(scored)))
    assert {"config", "commands", "cite"} <= set(page.ids("section"))


def test_a_run_that_has_just_begun_has_a_page(scored, tmp_path):
    (tmp_path / "config.yaml").write_text((scored / "config.yaml").read_text())
    page = check_safe(render(read_contents(tmp_path)))
    assert page.ids("section") == ["scores", "curves", "config", "environment", "commands", "cite"]


def test_links_out_of_the_folder_are_not_followed(scored, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    for name in ("log.txt", "metrics.csv"):
        (scored / name).unlink()
        (scored / name).symlink_to(secret)
    picture = scored / "samples/samples_0000000064.png"
    picture.rename(tmp_path / "outside.png")
    picture.symlink_to(tmp_path / "outside.png")
    write_scores(scored)
    (tmp_path / "secret.ckpt").touch()
    (scored / "checkpoints").rename(tmp_path / "kept")
    (scored / "checkpoints").symlink_to(tmp_path)
    contents = read_contents(scored)
    assert contents.checkpoints == []
    assert "the secret" not in render(contents)
    assert [each.name for each in contents.series] == ["reconstructions"]
    assert contents.scorings[0].pictures == []  # ../outside.png
    assert inside(scored, str(secret)) is None
    assert inside(scored, "a\0b") is None


def test_the_page_stays_small_beside_its_pictures(scored):
    names = [f"train/term_{n}" for n in range(60)]
    lines = [",".join(["images", *names])] + [",".join(map(str, [n, *range(n, n + 60)])) for n in range(5_000)]
    (scored / "metrics.csv").write_text("\n".join(lines) + "\n")
    (scored / "log.txt").write_text("warning: a line of the log\n" * 100_000)
    contents = read_contents(scored)
    text = re.sub(r"data:image/\w+;base64,[\w+/=]*", "", render(contents))
    assert len(text) < 2_000_000
    assert contents.images_seen == 4_999


def test_the_state_is_told(tiny_run):
    folder = tiny_run()
    assert read_contents(folder).state == "finished"
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("max_images: 64", "max_images: 1000"))
    (folder / "environment.json").write_text('[{"started": "2030-01-01T00:00:00"}]')
    assert read_contents(folder).state == "killed"
    (folder / "environment.json").unlink()
    assert read_contents(folder).state == "-"  # of a version that kept no outcome
    (folder / "environment.json").write_text('[{"outcome": "stopped by SIGTERM"}]')
    assert read_contents(folder).state == "stopped by SIGTERM"
    (folder / HEARTBEAT).write_text(f"{place()} {os.getpid()}\n")
    assert read_contents(folder).state == "running"
    assert read_contents(folder, "finished").state == "finished"


def test_the_command_renews_the_page(tiny_run, tmp_path, capsys):
    folder = tiny_run()
    (folder / FILE).unlink()
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"report: {folder / FILE}\n"
    check_safe((folder / FILE).read_text())
    assert main(["report", str(folder), f"out={tmp_path / 'page.html'}"]) == 0
    assert main(["report", str(folder)]) == 0
    mine = tmp_path / "mine.html"
    mine.write_text("my own page")
    with pytest.raises(UserError, match="is no report of lightning-gen"):
        write_report(folder, out=mine)
    assert mine.read_text() == "my own page"


def test_scores_and_samples_renew_the_page(tiny_run, capsys):
    folder = tiny_run()
    assert main(["sample", f"checkpoint={folder}", "n=4", "interpolation=false"]) == 0
    [picture] = read_contents(folder).generated
    assert picture.title in (folder / FILE).read_text()
    options = ["metrics=[reconstruction]", "num_real=8", "num_samples=8"]
    assert main(["evaluate", f"checkpoint={folder}", *options]) == 0
    assert "reconstruction_mse" in (folder / FILE).read_text()
    (folder / FILE).write_text("my own page")
    assert main(["sample", f"checkpoint={folder}", "n=4", "interpolation=false"]) == 0
    assert (folder / FILE).read_text() == "my own page"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no run's folder, it has no config.yaml"),
        (["nowhere", "ot=x.html"], "did you mean out"),
        (["a", "b", "out=x.html"], "is one file, and there are 2 runs"),
        (["out=x.html"], "report needs a run"),
    ],
)
def test_mistakes_are_one_line(arguments, words, capsys):
    assert main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_the_citation_is_that_of_the_project():
    project = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    for text in (project["title"], project["license"], project["authors"][0]["name"]):
        assert text in CITATION

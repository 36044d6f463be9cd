"""The compare command: like with like, noise said to be noise, every format."""

import csv
import json
import math
from pathlib import Path

import pytest
import yaml

from lightning_gen.cli import main
from lightning_gen.evaluation.result import Evaluation


def evaluation(
    kid, std=0.1, *, split="test", time="2026-01-01T00:00:00", n_fake=500, seeds=1, images="abc", name="", **scores
):
    found = {"kid/net": kid, "nll_nats": 90.0, **scores}
    return {
        "scores": found,
        "better": {name: "higher" if name == "recall/net" else "lower" for name in found},
        "uncertainty": {"kid/net": {"std": std, "over": "seeds" if seeds > 1 else "halves of the samples"}},
        "origin": {
            name: {
                "metric": name.split("/")[0],
                "extractor": "net" if "/" in name else None,
                "of_samples": "/" in name,
                "splits": [split],
            }
            for name in found
        },
        "protocol": {
            "data": "mnist5k",
            "split": split,
            "images": {split: images, "train": name},
            "binarize": False,
            "n_real": 500,
            "n_fake": n_fake,
            "extractors": {"net": {"name": "net", "resize": "tf"}},
            "metrics": {"kid": {"subsets": 100}},
            "seeds": seeds,
            "versions": {"torch": "2.15.0", "torchmetrics": "1.9.0"},
        },
        "time": time,
    }


def runs(tmp_path, **evaluations):
    for name, results in evaluations.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(results))
    return [str(tmp_path / name) for name in evaluations]


def table(capsys, *arguments) -> str:
    assert main(["compare", *arguments]) == 0
    return capsys.readouterr().out


def test_the_best_is_first_and_noise_is_named(tmp_path, capsys):
    paths = runs(tmp_path, far=[evaluation(9.0)], best=[evaluation(1.0)], near=[evaluation(1.2)])
    lines = table(capsys, *paths).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["run", "best", "near", "far"]
    assert "1.00 ± 0.10 *" in lines[1]
    assert "1.20 ± 0.10 ~" in lines[2]  # 0.2 < 2 * hypot(0.1, 0.1)
    assert "9.00 ± 0.10  " in lines[3]
    assert "kid/net ↓" in lines[0]


def test_a_mean_over_seeds_is_surer_than_a_seed(tmp_path, capsys):
    paths = runs(tmp_path, best=[evaluation(1.0, seeds=25)], near=[evaluation(1.2, seeds=25)])
    assert "~" not in table(capsys, *paths, "scores=kid/net").splitlines()[2]


def test_seeds_are_replicates(tmp_path, capsys):
    """Three trainings of `a` and two of `b`; their means are 1.0 and 1.3, their deviations 0.1 and 0.2828."""
    values = {"a0": 0.9, "a1": 1.0, "a2": 1.1, "b0": 1.1, "b1": 1.5}
    paths = runs(tmp_path, **{name: [evaluation(kid)] for name, kid in values.items()})
    for name in values:
        config = {"model": {"width": {"a": 8, "b": 16}[name[0]]}, "seed": int(name[1])}
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config))
    out = table(capsys, *paths, "scores=kid/net", "format=csv").splitlines()
    text = table(capsys, *paths, "scores=kid/net")
    rows = [row.split() for row in text.splitlines() if row.startswith("width=")]
    assert [row[:7] for row in rows] == [
        ["width=8", "(3", "seeds)", "8", "1.00", "±", "0.10"],
        ["width=16", "(2", "seeds)", "16", "1.30", "±", "0.28"],
    ]
    # 0.3 is less than two standard errors, hypot(0.1 / sqrt(3), 0.2828 / sqrt(2)) = 0.208
    assert (rows[0][7], rows[1][7]) == ("*", "~")
    assert "one standard deviation over its trainings" in text
    assert out[1].startswith("width=8 (3 seeds),8,1.0,0.1")
    single = table(capsys, *paths, "scores=kid/net", "group=false")
    assert "seeds)" not in single
    assert "a2" in single
    assert table(capsys, *paths[:3], "scores=kid/net").splitlines()[1].startswith("3 seeds ")  # the only row
    (tmp_path / "a2" / "config.yaml").write_text((tmp_path / "a1" / "config.yaml").read_text())  # the same run twice
    assert "width=8 (2 seeds)" in table(capsys, *paths, "scores=kid/net")


def test_higher_is_better_where_it_is(tmp_path, capsys):
    paths = runs(tmp_path, low=[evaluation(1, **{"recall/net": 0.1})], high=[evaluation(2, **{"recall/net": 0.9})])
    assert table(capsys, *paths, "sort=recall/net").splitlines()[1].startswith("high")
    assert table(capsys, *paths, "sort=kid/net").splitlines()[1].startswith("low")
    assert table(capsys, *paths, "sort=kid") == table(capsys, *paths, "sort=kid/net")
    assert table(capsys, *paths, "scores=kid,recall") == table(capsys, *paths, "scores=kid/net,recall/net")


def test_the_newest_evaluations_of_a_shared_protocol_are_taken(tmp_path, capsys):
    old, new = evaluation(5.0), evaluation(4.0, time="2026-01-02T00:00:00")
    other = evaluation(0.5, split="val", time="2026-01-03T00:00:00")
    paths = runs(tmp_path, one=[old, new, other], two=[evaluation(3.0)])
    lines = table(capsys, *paths).splitlines()
    assert "3.00" in lines[1] and "4.00" in lines[2]  # noqa: PT018


@pytest.mark.parametrize(
    ("change", "told"), [({"split": "val"}, "split"), ({"images": "other"}, "images"), ({"n_fake": 10}, "n_fake")]
)
def test_unlike_protocols_are_not_ranked_unless_forced(tmp_path, capsys, change, told):
    paths = runs(tmp_path, one=[evaluation(1.0)], two=[evaluation(2.0, name="of another metric", **change)])
    assert main(["compare", *paths, "sort=kid/net"]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
    assert "two" in table(capsys, *paths, "sort=kid/net", "force=true")
    # a likelihood looks at no samples
    if told == "n_fake":
        assert "kid/net is left out" in table(capsys, *paths)
        assert "nll_nats" in table(capsys, *paths).splitlines()[0]


def test_protocols_of_another_spelling_are_alike(tmp_path, capsys):
    old, new = evaluation(1.0), evaluation(2.0)
    for result, key in ((old, "normalization"), (new, "normalization")):
        result["protocol"]["extractors"]["net"][key] = "x / 255"
    assert "unequal" not in table(capsys, *runs(tmp_path, old=[old], new=[new]))


def test_files_that_state_no_precision_are_comparable(tmp_path, capsys):
    old, new = evaluation(1.0), evaluation(2.0)
    new["protocol"]["precision"] = "IEEE float32"
    assert "unequal" not in table(capsys, *runs(tmp_path, old=[old], new=[new]))
    assert Evaluation.from_json(old).protocol.to_json().keys() == old["protocol"].keys() | {
        *("samples", "seed", "half_samples", "batch_size", "ema", "images_seen")
    }


def test_scores_that_are_null_in_all_runs_are_left_out(tmp_path, capsys):
    printed = table(capsys, *runs(tmp_path, one=[evaluation(None)], two=[evaluation(None)]))
    assert "kid/net is left out: it is null in all runs" in printed
    assert "nll_nats" in printed.splitlines()[0]


def test_a_run_without_a_score_shows_a_gap(tmp_path, capsys):
    lacking = evaluation(1.0)
    del lacking["scores"]["nll_nats"]
    broken = evaluation(None)
    paths = runs(tmp_path, lacking=[lacking], other=[evaluation(2.0)], broken=[broken])
    lines = table(capsys, *paths).splitlines()
    assert lines[1].split()[-1] == "-"
    assert lines[3].split()[:2] == ["broken", "-"]


def test_every_format(tmp_path, capsys):
    paths = runs(tmp_path, one=[evaluation(1.0)], two=[evaluation(2.0)])
    markdown = table(capsys, *paths, "format=markdown").splitlines()
    assert markdown[1] == "| --- | ---: | ---: |"
    assert "**1.00 ± 0.10**" in markdown[2]
    for suffix in ("csv", "html", "md"):
        table(capsys, *paths, f"out={tmp_path / 'table'}.{suffix}")
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [float(row["kid/net"]) for row in rows] == [1.0, 2.0]
    assert math.isclose(float(rows[0]["kid/net error"]), 0.1)
    page = (tmp_path / "table.html").read_text()
    assert '<td class="best">1.00 ± 0.10</td>' in page
    assert main(["compare", *paths, f"out={tmp_path / 'table'}.csv"]) == 2


VAE = {
    "seed": 1,
    "run_dir": "a",
    "model": {
        "_target_": "lightning_gen.models.vae.VAE",
        "beta": 1.0,
        "likelihood": {"_target_": "losses.Bernoulli"},
        "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.01, "betas": [0.9, 0.99]},
        "encoder": {"_target_": "networks.ConvEncoder", "width": 8},
        "decoder": {"_target_": "networks.ConvDecoder", "width": 8},
    },
    "data": {"seed": 0, "augment": {}},
    "callbacks": {"best": {"folder": "a/checkpoints"}},
}


def configured(paths, *configs):
    for path, config in zip(paths, configs, strict=True):
        Path(path, "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def changed(**sections):
    """The config of a VAE with other values of its `model`, and of the top."""
    model = sections.pop("model", {})
    return {**VAE, **sections, "model": {**VAE["model"], **model}}


def test_the_keys_in_which_runs_differ_are_columns(tmp_path, capsys):
    paths = runs(tmp_path, one=[evaluation(1.0)], two=[evaluation(2.0)], copied=[evaluation(3.0)])
    other = {
        "likelihood": {"_target_": "losses.Gaussian", "log_scale": -1.5},
        "optimizer": {**VAE["model"]["optimizer"], "lr": 0.002},
        "encoder": {"_target_": "networks.ConvEncoder", "width": 16},
    }
    configured(paths[:2], VAE, changed(model=other, seed=-2, run_dir="b", data={"seed": 0, "augment": {"flip": None}}))
    rows = list(csv.reader(table(capsys, *paths, "format=csv").splitlines()))
    assert rows[0][:7] == ["run", "likelihood", "lr", "encoder.width", "flip", "seed", "kid/net"]
    assert rows[1][:6] == ["one", "Bernoulli", "0.01", "8", "", "1"]
    assert rows[2][:6] == ["two", "Gaussian", "0.002", "16", "null", "-2"]
    assert rows[3][:6] == ["copied", *[""] * 5]
    assert table(capsys, *paths).splitlines()[0].split()[:4] == ["run", "likelihood", "lr", "encoder.width"]
    assert "| run | likelihood | lr |" in table(capsys, *paths, "format=markdown")
    assert "<th>likelihood</th>" in table(capsys, *paths, "format=html")


def test_models_are_named_by_their_options_and_much_is_only_told(tmp_path, capsys):
    paths = runs(tmp_path, one=[evaluation(1.0)], two=[evaluation(2.0)])
    many = {f"key_{number}": number for number in range(12)}
    configured(
        paths,
        changed(options=["model=vae", "data=mnist5k"], model=dict.fromkeys(many, 0)),
        changed(options=["model=beta_vae", "data=mnist5k"], model=many),
    )
    shown = table(capsys, *paths)
    assert shown.splitlines()[1].split()[:3] == ["one", "vae", "0"]
    assert shown.splitlines()[2].split()[:2] == ["two", "beta_vae"]
    assert "the runs also differ in key_8, key_9, key_10, key_11" in shown


@pytest.mark.parametrize("content", ["[", "- 1", "model: 3", "{}"])
def test_configs_of_other_programs_add_no_columns(tmp_path, capsys, content):
    paths = runs(tmp_path, one=[evaluation(1.0)], two=[evaluation(2.0)])
    configured(paths[:1], VAE)
    Path(paths[1], "config.yaml").write_text(content)
    assert table(capsys, *paths).splitlines()[0].split()[:2] == ["run", "kid/net"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage"),
        (["{}/one", "{}/none"], "no such file or folder"),
        (["{}/one", "{}/empty"], "without evaluation.json"),
        (["{}/one", "{}/one"], "named twice"),
        (["{}/one", "{}/two", "srot=kid/net"], "did you mean sort"),
        (["{}/one", "{}/two", "sort=kd/net"], "did you mean kid/net"),
        (["{}/one", "{}/two", "scores=kid/nte"], "did you mean kid/net"),
        (["{}/one", "{}/two", "format=makrdown"], "did you mean markdown"),
        (["{}/one", "{}/bad"], "something other than evaluations"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, arguments, message):
    runs(tmp_path, one=[evaluation(1.0)], two=[evaluation(2.0)], bad={"a": 1})
    (tmp_path / "empty").mkdir()
    status = main(["compare", *(argument.format(tmp_path) for argument in arguments)])
    printed = capsys.readouterr()
    assert message in (printed.err or printed.out)
    assert status == (2 if arguments else 0)
    if arguments:
        assert printed.err.count("\n") == 1


def test_names_stay_names_in_every_format(tmp_path, capsys):
    name = "=1+1|<script>alert(1)</script>\x1b[31m"
    paths = [str(tmp_path / "plain"), str(tmp_path / name.replace("/", "_"))]
    for path, kid in zip(paths, (2.0, 1.0), strict=True):
        Path(path).mkdir()
        Path(path, "evaluation.json").write_text(json.dumps([evaluation(kid, **{"-1.5": -1.5})]))
    shown = {format: table(capsys, *paths, f"format={format}") for format in ("text", "markdown", "csv", "html")}
    assert not any("\x1b" in text for text in shown.values())
    row = shown["markdown"].splitlines()[2]
    assert row.startswith("| =1+1\\|&lt;script&gt;")
    assert row.count("|") - row.count("\\|") == 1 + len(shown["markdown"].splitlines()[1].strip("|").split("|"))
    rows = list(csv.reader(shown["csv"].splitlines()))
    assert rows[1][0].startswith("'=1+1|<script>")
    assert "'-1.5" in rows[0]
    assert rows[1][rows[0].index("'-1.5")] == "-1.5"
    assert "<script>" not in shown["html"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        [None],
        [1, "protocol"],
        [[]],
        [{"model": "a", "accuracy": 0.9}],
        [{"scores": None, "protocol": None, "origin": None}],
        [evaluation(1.0) | {"origin": {}}],
        [evaluation(1.0) | {"better": []}],
        [evaluation(1.0) | {"uncertainty": {"kid/net": []}}],
        [evaluation("abc")],
        [evaluation(10**400)],
        [evaluation(1.0, std=-1.0)],
        [evaluation(1.0, seeds=-1)],
        [evaluation(1.0, time=3)],
    ],
)
def test_files_of_other_programs_are_refused(tmp_path, capsys, content):
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    assert main(["compare", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: compare {tmp_path}: evaluation.json holds something other than evaluations; "
        "name the folder of a run, or the file that lightning-gen evaluate wrote\n"
    )


@pytest.mark.parametrize("content", [[], [evaluation(None, nll_nats=None)]])
def test_files_without_a_score(tmp_path, capsys, content):
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    assert main(["compare", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1

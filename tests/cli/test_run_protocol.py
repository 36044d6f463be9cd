"""`evaluate` scores a checkpoint as its run was scored, unless other values are typed; a stranger's file is refused."""

import json

import pytest
from helpers.runs import run

from lightning_gen.cli import main, run_protocol
from lightning_gen.config.composition import compose
from lightning_gen.config.containers import as_dict
from lightning_gen.image_generator import KEY


def test_a_checkpoint_is_scored_as_its_run_was(tmp_path, capsys):
    folder = run(tmp_path / "run", "metrics=[reconstruction]", "evaluation.half_samples=4", "evaluation.num_real=16")
    evaluate = ["evaluate", f"checkpoint={folder}/checkpoints/last.ckpt", "device=cpu"]
    assert main(evaluate) == 0
    assert "scored as its run was: metrics=[reconstruction]" in capsys.readouterr().err
    assert main([*evaluate, "metrics=[likelihood]", "num_real=8"]) == 0
    trained, same, other = json.loads((folder / "evaluation.json").read_text())
    assert same["scores"] == trained["scores"]
    assert same["uncertainty"] == trained["uncertainty"]
    assert (same["protocol"]["n_real"], other["protocol"]["n_real"]) == (16, 8)
    assert "nll_nats" in other["scores"]
    assert not other["scores"].keys() & trained["scores"].keys()


METRICS = {"kid": {"_target_": "lightning_gen.metrics.kid.KernelDistance"}}
INCEPTION = {"_target_": "lightning_gen.extractors.inception.Inception"}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, ""),
        ({"metrics": {}, "extractor": {"inception": INCEPTION}}, ""),  # it was not scored
        ({"metrics": [], "extractor": 3, "evaluation": "all"}, ""),
        (
            {"metrics": METRICS, "extractor": {"x": {"_target_": "os.system"}}},
            "extractor.x._target_=os.system is named",
        ),
        (
            {"metrics": METRICS, "extractor": {"x": INCEPTION | {"sha256": 64 * "0"}}},
            "refused, it sets extractor.x.sha",
        ),
        ({"metrics": METRICS, "extractor": {"x": INCEPTION}, "evaluation": {"batch_size": "all"}}, "batch_size=all"),
    ],
)
def test_what_is_not_to_be_used_is_not(monkeypatch, capsys, tmp_path, config, told):
    monkeypatch.setattr(run_protocol, "read_checkpoint", lambda path: {KEY: {"config": config}})
    cfg = compose(["checkpoint=x"], "evaluate")
    before = as_dict(cfg)
    run_protocol.use_own_protocol(cfg, ["checkpoint=x"], tmp_path / "x")
    assert as_dict(cfg) == before
    error = capsys.readouterr().err
    assert told in error
    assert bool(told) == ("not scored as its run was" in error)

"""Plugins are found by their metadata, add options, and never do harm."""

import sys

import hydra
import pytest
from helpers.commands import run_command
from helpers.plugins import make_plugin
from helpers.runs import run
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from lightning_gen.checkpoint import load_model
from lightning_gen.cli import main
from lightning_gen.cli.commands import doctor
from lightning_gen.config.composition import compose, conf_dir
from lightning_gen.config.instantiation import build_model
from lightning_gen.config.options import list_options
from lightning_gen.config.plugins import Plugin, clashes, discover, usable
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import build_metrics

FLOW = {"model/flow_vae.yaml": "# A VAE with a flow.\ndefaults: [vae]\nbeta: 2.0\n"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("LIGHTNING_GEN_PLUGINS", raising=False)
    monkeypatch.delenv("LIGHTNING_GEN_DISABLE", raising=False)
    return folder


def found(package):
    return next(plugin for plugin in discover() if plugin.package == package)


def test_core_is_first_and_works_from_a_checkout(site):
    core = discover()[0]
    assert isinstance(core, Plugin)
    assert (core.name, core.package, core.conf_dir) == ("core", "lightning_gen", conf_dir())
    assert (core.conf_dir / "train.yaml").is_file()


def test_installed_plugin_is_found_without_importing_it(site):
    package = make_plugin(site, "lg_flow", FLOW)
    plugin = found("lg_flow")
    assert isinstance(plugin, Plugin)
    assert (plugin.name, plugin.version, plugin.conf_dir) == ("lg_flow", "1.2", package / "conf")
    assert "lg_flow" not in sys.modules


def test_plugin_config_composes_with_cores(site):
    make_plugin(site, "lg_flow", FLOW)
    config = compose(["model=flow_vae"])
    assert config.model.beta == 2.0
    assert config.model._target_ == compose().model._target_
    assert "/flow_vae/" in config.run_dir


def test_core_comes_first_and_the_clash_is_reported(site):
    make_plugin(site, "lg_shadow", {"model/vae.yaml": "beta: 99.0\n"})
    assert compose().model.beta != 99.0
    [clash] = clashes(usable())
    assert str(clash) == "model/vae of lg_shadow 1.2 is hidden by that of core " + discover()[0].version


def test_two_plugins_with_the_same_option_are_reported(site, monkeypatch):
    make_plugin(site, "lg_a", FLOW)
    make_plugin(site, "lg_b", {"network/flow_net.yaml": "defaults: [conv_encoder]\n", **FLOW})
    [clash] = clashes(usable())
    assert str(clash) == "model/flow_vae of lg_b 1.2 is hidden by that of lg_a 1.2"
    assert [o.source for o in list_options("model") if o.name == "flow_vae"] == ["lg_a 1.2"]
    assert compose(["model=vae", "network@model.encoder=flow_net"])
    message = "model=flow_vae: lg_a 1.2 and lg_b 1.2 both define it; leave one out with LIGHTNING_GEN_DISABLE=lg_b"
    assert refusal("model=flow_vae") == message
    monkeypatch.setenv("LIGHTNING_GEN_DISABLE", "lg_b")
    assert compose(["model=flow_vae"])


# What is wrong with a plugin; what is chosen of it; what the error says. Each plugin is told of by `doctor` too.
UPDATE = "pip install --upgrade lg_bad"
BROKEN = {
    "raises": (
        {"files": {"model/bad.yaml": "defaults: [vae]\n_target_: lg_bad.Flow\n"}},
        f"lg_bad.Flow cannot be imported: RuntimeError: imported (plugin lg_bad 1.2: update it: {UPDATE})",
        f"! lg_bad 1.2: cannot be imported: RuntimeError: imported; update it: {UPDATE}",
    ),
    "needs a package": (
        {"files": {"model/bad.yaml": "defaults: [vae]\n_target_: lg_bad.Flow\n"}, "code": "import lg_absent\n"},
        f"needs the package lg_absent; install it (plugin lg_bad 1.2: update it: {UPDATE})",
        f"! lg_bad 1.2: cannot be imported: ModuleNotFoundError: No module named 'lg_absent'; update it: {UPDATE}",
    ),
    "no conf": (
        {"files": {}},
        "plugin lg_bad 1.2 is left out: package lg_bad has no conf/ folder; pip install --force-reinstall lg_bad, or",
        "! lg_bad 1.2 is left out: package lg_bad has no conf/ folder; pip install --force-reinstall lg_bad, or",
    ),
    "bad YAML": (
        {"files": {"model/bad.yaml": "defaults: [vae\n"}, "code": ""},
        f"but got '<stream end>' (plugin lg_bad 1.2); update it: {UPDATE}",
        "! lg_bad 1.2: conf/model/bad.yaml line 2: expected ',' or ']', but got '<stream end>'; update it: " + UPDATE,
    ),
    "no YAML": (
        {"files": {"model/bad.yaml": "text\n"}, "code": ""},
        "model: its config names no _target_",
        f"! lg_bad 1.2: conf/model/bad.yaml holds no mapping; update it: {UPDATE}",
    ),
    "too new": (
        {"files": {"model/bad.yaml": "defaults: [vae]\n"}, "requires": "Lightning_Gen >= 7"},
        "model=bad: of plugin lg_bad 1.2: too new, it needs lightning-gen>=7 and this is ",
        "! lg_bad 1.2 is left out: too new, it needs lightning-gen>=7 and this is ",
    ),
    "too old": (
        {"files": {"model/bad.yaml": "defaults: [vae]\n"}, "requires": "lightning-gen<0.1,>=0.0.1"},
        "model=bad: of plugin lg_bad 1.2: too old, it needs lightning-gen",
        "! lg_bad 1.2 is left out: too old, it needs lightning-gen",
    ),
    "no target": (
        {"files": {"model/bad.yaml": "defaults: [vae]\n_target_: lg_bad.Flov\n"}, "code": "class Flow: pass\n"},
        f"lg_bad has no Flov; did you mean Flow? (plugin lg_bad 1.2: update it: {UPDATE})",
        f"_target_=lg_bad.Flov: lg_bad has no Flov; did you mean Flow?; update it: {UPDATE}",
    ),
    "no default": (
        {"files": {"model/bad.yaml": "defaults: [vaee]\n"}, "code": ""},
        f"there is no model/vaee.yaml; did you mean model=vae? (plugin lg_bad 1.2: update it: {UPDATE})",
        "lg_bad 1.2 (lg_bad)",
    ),
}


@pytest.mark.parametrize("kind", list(BROKEN))
def test_broken_plugins_harm_only_those_who_choose_them(site, kind):
    arguments, error, report = BROKEN[kind]
    make_plugin(site, "lg_bad", **arguments)
    message = refusal("model=bad")
    assert error in message
    assert "\n" not in message
    assert any(report in line for line in doctor._plugins())
    sys.modules.pop("lg_bad", None)


def refusal(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        build_model(compose(overrides).model, (1, 8, 8), None)
    return str(caught.value)


def test_core_trains_among_broken_plugins(site, tmp_path):
    for number, (arguments, _, _) in enumerate(BROKEN.values()):
        make_plugin(site, f"lg_bad{number}", **arguments)
    run(tmp_path / "run", "model=vae", images=8)
    assert not [name for name in sys.modules if name.startswith("lg_bad")]


def test_other_requirements_are_pips_business(site):
    make_plugin(site, "lg_flow", FLOW, requires="lightning-gen-flow<0.0.1")
    make_plugin(site, "lg_extra", {}, requires="lightning-gen>=9; extra == 'next'", entry_point="lg_flow")
    make_plugin(
        site, "lg_range", {"model/range.yaml": "defaults: [vae]\n"}, requires="lightning-gen[offline]>=0.0.1,<99"
    )
    assert compose(["model=range"]).model.beta == 1
    assert compose(["model=flow_vae"]).model.beta == 2
    make_plugin(site, "lg_odd", {"model/odd.yaml": "defaults: [vae]\n"}, requires="lightning-gen is good")
    assert (
        found("lg_odd").error
        == "its metadata ask for 'lightning-gen is good', which is no requirement; tell its author"
    )


def test_the_first_of_two_installations_counts(site, tmp_path, monkeypatch):
    make_plugin(site, "lg_flow", FLOW, version="0.9")
    make_plugin(tmp_path / "first", "lg_flow", FLOW, version="2.0")
    monkeypatch.syspath_prepend(tmp_path / "first")
    assert (found("lg_flow").version, found("lg_flow").conf_dir) == ("2.0", tmp_path / "first" / "lg_flow" / "conf")


def test_a_plugin_in_this_folder_needs_no_path(tmp_path, monkeypatch):
    make_plugin(tmp_path, "lg_here", FLOW, entry_point=None)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lg_here")
    assert "not installed" in found("lg_here").error
    monkeypatch.chdir(tmp_path)
    assert compose(["model=flow_vae"]).model.beta == 2.0


def test_twenty_plugins_are_listed_and_none_imported(site, capsys):
    for number in range(20):
        files = {f"model/flow_{number}.yaml": "defaults: [vae]\n_target_: lg_no.Such\n"}
        make_plugin(site, f"lg_{number}", files, requires="lightning-gen>=0.0.1")
    for arguments in (["train", "--help"], ["list", "model"]):
        assert main(arguments) == 0
        assert "flow_19" in capsys.readouterr().out
    assert compose(["model=vae"])
    assert not {f"lg_{number}" for number in range(20)} & set(sys.modules)


def test_from_python(site):
    import lightning_gen

    make_plugin(site, "lg_flow", FLOW)
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):  # someone else's, as in a notebook
        assert lightning_gen.compose(["model=flow_vae"]).model.beta == 2.0
        assert hydra.compose("train").seed == 0
    assert not GlobalHydra.instance().is_initialized()
    assert HydraConfig.instance().cfg is None
    assert {"flow_vae", "vae"} <= {option.name for option in lightning_gen.list_options("model")}
    with pytest.raises(UserError, match="there is no group modl; did you mean model"):
        lightning_gen.list_options("modl")
    assert lightning_gen.load_model is load_model
    assert set(lightning_gen.__all__) <= set(dir(lightning_gen))
    with pytest.raises(AttributeError, match="no_such"):
        lightning_gen.no_such  # noqa: B018


@pytest.mark.parametrize(
    ("package", "problem"),
    [("lg_absent", "is not installed"), ("lg_empty", "has no conf/ folder"), ("lg_empty.inner", "has no conf/ folder")],
)
def test_broken_plugins_are_left_out(site, package, problem):
    make_plugin(site, "lg_empty", {}, entry_point=package)
    plugin = found(package)
    assert plugin.conf_dir is None
    assert problem in plugin.error
    assert compose().seed == 0


def test_unreadable_metadata_hides_no_other_plugin(site):
    make_plugin(site, "lg_flow", FLOW)
    make_plugin(site, "lg_bad", {})
    (site / "lg_bad-1.2.dist-info" / "entry_points.txt").write_bytes(b"[lightning_gen.plugins]\n\xff\xfe = \x00\n")
    make_plugin(site, "lg_cut", {"model/cut.yaml": "defaults: [vae]\n"})
    (site / "lg_cut-1.2.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    assert isinstance(found("lg_flow"), Plugin)
    assert "pip install --force-reinstall" in found("lg_cut").error


def test_value_in_a_sub_package(site):
    package = make_plugin(site, "lg_outer", {}, entry_point="lg_outer.inner")
    (package / "inner" / "conf" / "model").mkdir(parents=True)
    assert found("lg_outer.inner").conf_dir == package / "inner" / "conf"


def test_environment_adds_and_leaves_out(site, monkeypatch):
    make_plugin(site, "lg_local", FLOW, entry_point=None)
    make_plugin(site, "lg_other", {"model/other.yaml": "defaults: [vae]\n"})
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lg_local, lg_nowhere")
    monkeypatch.setenv("LIGHTNING_GEN_DISABLE", "lg_other")
    assert compose(["model=flow_vae"]).model.beta == 2.0
    assert [plugin.package for plugin in discover()] == ["lightning_gen", "lg_local", "lg_nowhere"]
    assert found("lg_nowhere").error.startswith("package lg_nowhere is not installed; fix LIGHTNING_GEN_PLUGINS")


def test_the_commands_show_plugins(tmp_path):
    site = tmp_path / "site"
    make_plugin(site, "lg_flow", FLOW)
    make_plugin(site, "lg_gone", {}, entry_point="lg_absent")
    listed = run_command("list", "model", cwd=tmp_path, path=site)
    assert listed.returncode == 0, listed.stderr
    row = next(line for line in listed.stdout.splitlines() if line.startswith("flow_vae"))
    assert row.split("  ")[1:] != []
    assert "A VAE with a flow." in row
    assert row.endswith("lg_flow 1.2")
    assert "lg_gone 1.2 is left out: package lg_absent is not installed" in listed.stderr
    assert "flow_vae" in run_command("train", "--help", cwd=tmp_path, path=site).stdout
    shown = run_command("train", "model=flow_vae", "--cfg", "job", "-p", "model", cwd=tmp_path, path=site)
    assert "beta: 2.0" in shown.stdout, shown.stderr


ODD_METRICS = {
    "abstract": ("class Odd(SampleMetric):\n    better = {'a': 'lower'}\n", "Can't instantiate abstract class Odd"),
    "no needs": (
        "class Odd(PairedMetric):\n    better = {'a': 'lower'}\n    def update(self, x): ...\n",
        "metrics.odd: Odd has no `needs`; set it",
    ),
    "no better": (
        "class Odd(SampleMetric):\n    def update(self, images, labels): ...\n",
        "metrics.odd: Odd has no `better`; set it",
    ),
    "no metric": ("class Odd: ...\n", "metrics.odd: Odd is no ImageMetric; extend one of its subclasses"),
}


@pytest.mark.parametrize("kind", list(ODD_METRICS))
def test_metrics_that_lack_something(site, kind):
    code, told = ODD_METRICS[kind]
    code = "from lightning_gen.metrics.image_metric import PairedMetric, SampleMetric\n" + code
    make_plugin(site, "lg_odd", {"metrics/odd.yaml": "odd:\n  _target_: lg_odd.Odd\n"}, code=code)
    with pytest.raises(UserError) as caught:
        build_metrics(compose(["metrics=[odd]"]).metrics)
    assert told in str(caught.value)
    assert str(caught.value).startswith("metrics.odd: ") or kind == "abstract"
    sys.modules.pop("lg_odd", None)


def test_doctor_fails_with_a_broken_plugin_and_only_then(site, capsys):
    make_plugin(site, "lg_good", {"model/good.yaml": "# A model.\ndefaults: [vae]\n"}, code="")
    assert main(["doctor"]) == 0
    make_plugin(site, "lg_bad", {"model/bad.yaml": "# \x1b[31mred\ndefaults: [vae\n"}, code="")
    assert main(["doctor"]) == 2
    capsys.readouterr()
    assert main(["list", "model"]) == 0
    assert r"\x1b[31mred" in capsys.readouterr().out

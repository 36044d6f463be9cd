"""Plugins are found by their metadata, add options, and never do harm."""

import shutil
import sys

import pytest
from fake_plugins import ROOT, make_plugin, run_command

from lightning_gen.config import compose, conf_dir
from lightning_gen.listing import list_options
from lightning_gen.plugins import clashes, discover

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
    assert (core.name, core.package, core.conf_dir, core.error) == ("core", "lightning_gen", conf_dir(), None)
    assert (core.conf_dir / "train.yaml").is_file()


def test_installed_plugin_is_found_without_importing_it(site):
    package = make_plugin(site, "lg_flow", FLOW)
    plugin = found("lg_flow")
    assert (plugin.name, plugin.version, plugin.conf_dir, plugin.error) == ("lg_flow", "1.2", package / "conf", None)
    assert "lg_flow" not in sys.modules


def test_plugin_config_composes_with_cores(site):
    make_plugin(site, "lg_flow", FLOW)
    config = compose(["model=flow_vae"])
    assert config.model.beta == 2.0
    assert config.model._target_ == compose().model._target_
    assert "/flow_vae/" in config.run_dir


def test_core_comes_first_and_the_clash_is_told(site):
    make_plugin(site, "lg_shadow", {"model/vae.yaml": "beta: 99.0\n"})
    assert compose().model.beta != 99.0
    assert clashes(discover()) == ["model/vae of lg_shadow 1.2 is hidden by that of core " + discover()[0].version]


def test_two_plugins_with_one_option_are_told(site):
    make_plugin(site, "lg_a", FLOW)
    make_plugin(site, "lg_b", FLOW)
    assert clashes(discover()) == ["model/flow_vae of lg_b 1.2 is hidden by that of lg_a 1.2"]
    assert [o.source for o in list_options("model") if o.name == "flow_vae"] == ["lg_a 1.2"]


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
    assert found("lg_flow").error is None


def test_value_in_a_sub_package(site):
    package = make_plugin(site, "lg_outer", {}, entry_point="lg_outer.inner")
    (package / "inner" / "conf" / "model").mkdir(parents=True)
    assert found("lg_outer.inner").conf_dir == package / "inner" / "conf"


def test_bad_yaml_harms_only_those_who_choose_it(site):
    make_plugin(site, "lg_flow", {"model/broken.yaml": "defaults: [vae\n"})
    assert compose().seed == 0
    from lightning_gen.errors import UserError

    with pytest.raises(UserError, match=r"broken\.yaml line \d+: .*; mend the file"):
        compose(["model=broken"])


def test_environment_adds_and_leaves_out(site, monkeypatch):
    make_plugin(site, "lg_local", FLOW, entry_point=None)
    make_plugin(site, "lg_other", {"model/other.yaml": "defaults: [vae]\n"})
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lg_local, lg_nowhere")
    monkeypatch.setenv("LIGHTNING_GEN_DISABLE", "lg_other")
    assert compose(["model=flow_vae"]).model.beta == 2.0
    assert [plugin.package for plugin in discover()] == ["lightning_gen", "lg_local", "lg_nowhere"]
    assert found("lg_nowhere").error == "package lg_nowhere is not installed"


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


def test_installed_from_a_wheel(tmp_path):
    site = tmp_path / "site"
    shutil.copytree(ROOT / "lightning_gen", site / "lightning_gen", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", site / "lightning_gen" / "conf")
    info = site / "lightning_gen-9.8.7.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lightning-gen\nVersion: 9.8.7\n")
    (info / "entry_points.txt").write_text("[lightning_gen.plugins]\ncore = lightning_gen\n")
    assert run_command("--version", cwd=tmp_path, path=site).stdout == "lightning-gen 9.8.7\n"
    assert "core 9.8.7" in run_command("list", "model", cwd=tmp_path, path=site).stdout
    composed = run_command("train", "--cfg", "job", cwd=tmp_path, path=site)
    assert "latent_dim" in composed.stdout, composed.stderr

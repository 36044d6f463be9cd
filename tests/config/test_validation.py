"""The check of a composed config against the signatures of its targets."""

import random
import re
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import pytest
from helpers.configs import composed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveFloat, PositiveInt, UnitInterval
from lightning_gen.config.composition import check, compose
from lightning_gen.config.hydra_errors import suggest_key
from lightning_gen.config.signatures import describe, fits, signature_of
from lightning_gen.errors import UserError

HERE = __name__


class Base:
    def __init__(self, width: int, name: str = "a", activation: Literal["relu", "silu"] = "relu"):
        pass


class Child(Base):
    def __init__(self, depth: "int | None" = None, **kwargs):
        super().__init__(**kwargs)


class Open:
    def __init__(self, **kwargs: Any):
        pass


class Parts:
    def __init__(self, parts: list[Literal["encoder", "decoder"]] | None = None):
        pass


class Network(nn.Module):
    def __init__(self, rate: float = 0.1, **kwargs):
        super().__init__(**kwargs)


def function(lr: float | Tensor, betas: tuple[float, float] = (0, 1), sizes: Sequence[int] = (), f: Callable = print):
    pass


@pytest.mark.parametrize(
    ("target", "keys", "is_open"),
    [
        (Base, {"width", "name", "activation"}, False),
        (Child, {"depth", "width", "name", "activation"}, False),
        (Open, set(), True),
        (Network, {"rate"}, False),
        (function, {"lr", "betas", "sizes", "f"}, False),
        (dict.fromkeys, None, None),
    ],
)
def test_signatures(target, keys, is_open):
    signature = signature_of(target)
    if keys is not None:
        assert set(signature.parameters) == keys
        assert signature.open is is_open


def test_lightnings_trainer_keeps_its_signature_through_its_decorator():
    from lightning.pytorch import Trainer

    signature = signature_of(Trainer)
    assert {"max_epochs", "accelerator", "callbacks"} <= set(signature.parameters)
    assert not signature.open


def test_optimizers_of_torch():
    from torch.optim import Adam

    signature = signature_of(Adam)
    assert "betas" in signature.parameters
    assert not signature.open
    assert not fits("abc", signature.parameters["lr"])


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        ("1", int, False),
        (1, float, True),
        (True, float, False),
        ("1e-3", float, False),
        (1, bool, False),
        (None, int, False),
        (None, int | None, True),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (True, Literal[1, 2], False),
        ([1, 2], list[int], True),
        ([1, "2"], list[int], False),
        ([1, 2], tuple[int, int], True),
        ([1, 2, 3], tuple[int, int], False),
        ([1, 2, 3], tuple[int, ...], True),
        ("abc", Sequence[str], False),
        ({"a": 1}, dict[str, int], True),
        ({"a": "b"}, dict[str, int], False),
        (3, dict, False),
        ("abc", nn.Module, False),
        ({"_target_": "torch.nn.Identity"}, nn.Module, True),
        ("abc", float | Tensor, False),
        ("abc", Callable[[int], int], False),
        ("abc", Any, True),
        (1, PositiveInt, True),
        (0, PositiveInt, False),
        (True, PositiveInt, False),
        (1.5, PositiveInt, False),
        (None, PositiveInt | None, True),
        (-1, PositiveInt | None, False),
        (0.1, PositiveFloat, True),
        (0, PositiveFloat, False),
        (0, NonNegativeInt, True),
        (1, UnitInterval, True),
        (1.5, UnitInterval, False),
        (-0.5, UnitInterval, False),
    ],
)
def test_fits(value, annotation, expected):
    assert fits(value, annotation) is expected


def test_annotations_as_a_user_reads_them():
    assert describe(int | None) == "int or null"
    assert describe(Literal["a", "b"]) == "one of 'a', 'b'"
    assert describe(list[int]) == "list of int"
    assert describe(tuple[int, float]) == "[int, float]"
    assert describe(PositiveInt | None) == "int of at least 1 or null"
    assert describe(PositiveFloat) == "float above 0"
    assert describe(UnitInterval) == "float of at least 0 and at most 1"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.batch_size=0", "int of at least 1"),
        ("data.num_workers=-1", "int of at least 0 or null"),
        ("model.latent_dim=0", "int of at least 1"),
        ("model.encoder.width=-3", "int of at least 1"),
        ("model.decoder.hidden=-1", "int of at least 0"),
        ("model.prior.hidden=0", "int of at least 1"),
        ("model.ema_decay=1.5", "float of at least 0 and at most 1 or null"),
        ("model.gradient_clip=0", "float above 0 or null"),
        ("trainer.max_images=-1", "int of at least 1 or null"),
        ("trainer.validate_every_images=0", "int of at least 1"),
        ("callbacks.sample_grid.n=0", "int of at least 1"),
        ("metrics.kid.subsets=-1", "int of at least 0"),
    ],
)
def test_numbers_out_of_bounds_are_refused_before_anything_is_built(override, expected):
    with pytest.raises(UserError, match=f"^{re.escape(override)}: expected {expected}$"):
        compose(["model/prior=autoregressive", override])


@pytest.mark.parametrize(
    ("options", "override", "expected"),
    [
        (["model=gan"], "model.generator_every=0", "int of at least 1"),
        (["model=gan"], "model.latent_dim=0", "int of at least 1"),
        (["model=wgan"], "model.weight_clip=0.0", "float above 0 or null"),
        (["model=wgan_gp"], "model.penalty.gradient_penalty.every=0", "int of at least 1"),
        (["model=stylegan2"], "model.mixing=2", "float of at least 0 and at most 1"),
        (["model=stylegan2"], "model.generator.mapping_depth=0", "int of at least 1"),
        (["model=pixel_cnn"], "model.network.size=-1", "int of at least 1"),
        (["model=svg_lp"], "model.first_beta=-1", "float of at least 0"),
        (["model=frame_lstm"], "model.cells.width=0", "int of at least 1"),
        (["model=dragan"], "model.penalty.dragan.every=0", "int of at least 1"),
        (["model=stylegan2"], "model.penalty.path_length.batch_share=0", "int of at least 1"),
    ],
)
def test_numbers_out_of_bounds_of_other_models_too(options, override, expected):
    with pytest.raises(UserError, match=f"^{re.escape(override)}: expected {expected}$"):
        compose([*options, override])


@pytest.mark.parametrize("name", ["dragan", "lecam", "consistency", "latent_consistency", "path_length", "r1"])
@pytest.mark.parametrize("schedule", ["abc", "3"])
def test_schedules_of_penalties_are_functions(name, schedule):
    override = f"model.penalty.{name}.schedule={schedule}"
    with pytest.raises(UserError, match=f"^{re.escape(override)}: expected Callable or null$"):
        compose(["model=gan", f"model/penalty=[{name}]", f"+{override}"])


@pytest.mark.parametrize(
    ("player", "fix"), [("discrimnator", "; did you mean discriminator?"), ("critic", "")], ids=["typo", "other"]
)
def test_spectral_norm_names_players(player, fix):
    expected = f"model.spectral_norm=['{player}']: expected list of one of 'generator', 'discriminator'{fix}"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        compose(["model=gan", f"model.spectral_norm=[{player}]"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"widht": 3}, "part.widht=3: Child has no such key; did you mean part.width?"),
        ({"zzz": 3}, "part.zzz=3: Child has no such key; its keys are activation, depth, name, width"),
        ({"width": "abc"}, "part.width=abc: expected int"),
        ({"width": 1e3}, "part.width=1000.0: expected int; write 1000"),
        ({"depth": True}, "part.depth=true: expected int or null"),
        (
            {"activation": "silo"},
            "part.activation=silo: expected one of 'relu', 'silu'; did you mean silu?",
        ),
        (
            {"name": {"_target_": f"{HERE}.Bas"}},
            f"part.name._target_={HERE}.Bas: {HERE} has no Bas; did you mean Base?",
        ),
        (
            {"name": {"_target_": "lightning_gen.eror.UserError"}},
            "part.name._target_=lightning_gen.eror.UserError: lightning_gen has no eror; did you mean errors?",
        ),
        (
            {"name": {"_target_": "no_such_package.X"}},
            "part.name._target_=no_such_package.X: there is no package no_such_package; install it or fix the name",
        ),
        (
            {"name": {"_target_": f"{HERE}.HERE"}},
            f"part.name._target_={HERE}.HERE: is not callable; name a class or a function",
        ),
    ],
)
def test_messages(keys, message):
    with pytest.raises(UserError) as caught:
        check({"part": {"_target_": f"{HERE}.Child", **keys}})
    assert str(caught.value) == message


def test_good_configs_pass():
    inner = {"_target_": f"{HERE}.function", "_partial_": True, "lr": 1, "betas": [0, 0.9]}
    check({"part": {"_target_": f"{HERE}.Child", "width": 3, "name": inner, "_convert_": "all"}, "plain": {"a": 1}})
    check(OmegaConf.create({"a": 3, "part": {"_target_": f"{HERE}.Base", "width": "${a}"}}))
    check({"parts": [{"_target_": f"{HERE}.Open", "anything": 1}]})


def test_keys_in_lists_are_named():
    with pytest.raises(UserError, match=r"^parts\[1\]\.widt=2: "):
        check({"parts": [{}, {"_target_": f"{HERE}.Base", "widt": 2}]})


def test_words_in_lists_are_suggested():
    with pytest.raises(UserError, match=r"^part.parts=.*'decoder' or null; did you mean decoder\?$"):
        check({"part": {"_target_": f"{HERE}.Parts", "parts": ["encoder", "decodr"]}})


def test_missing_dependency_is_named(tmp_path, monkeypatch):
    (tmp_path / "lg_needs.py").write_text("import lg_absent_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        UserError, match=r"^part\._target_=lg_needs\.X: needs the package lg_absent_dependency; install it"
    ):
        check({"part": {"_target_": "lg_needs.X"}})


@pytest.fixture(scope="module")
def keys() -> list[str]:
    """All of the default config, with dots."""
    return sorted(set(dotted(OmegaConf.to_container(composed()))))


def dotted(node: dict[str, Any], parent: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{parent}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{parent}{key}.")


@given(seed=st.integers(0, 2**32))
@settings(max_examples=500, deadline=None)
def test_a_single_edit_of_any_key_suggests_the_key(keys, seed):
    chance = random.Random(seed)
    key = chance.choice(keys)
    typo = one_edit(key, chance)
    if typo not in keys and not re.search(r"(^|\.)\w$", key):  # another letter resembles none
        assert key in suggest_key(typo, keys).removesuffix("?").split()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_single_edit_is_an_error_however_it_is_written(keys, seed):
    chance = random.Random(seed)
    typo = one_edit(chance.choice([key for key in keys if "_target_" not in key]), chance)
    if typo not in keys:
        with pytest.raises(UserError) as caught:
            compose([f"{chance.choice(['', '+', '++'])}{typo}=1"])
        assert typo.split(".")[0] in str(caught.value)
        assert "\n" not in str(caught.value)


def one_edit(key: str, chance: random.Random) -> str:
    """Change, leave out, add or swap a letter of the last part."""
    parent, dot, name = key.rpartition(".")
    at, letter = chance.randrange(len(name)), chance.choice(string.ascii_lowercase)
    edited = chance.choice(
        [
            name[:at] + letter + name[at + 1 :],
            name[:at] + name[at + 1 :] or name + letter,
            name[:at] + letter + name[at:],
            name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
        ]
    )
    return f"{parent}{dot}{edited}"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("_partial_", 3, "bool"), ("_recursive_", "yes", "bool"), ("_args_", {}, "list"), ("_convert_", "some", "one of")],
)
def test_hydra_s_own_keys_have_types(key, value, expected):
    with pytest.raises(UserError, match=rf"^part\.{key}.*: expected {expected}"):
        check({"part": {"_target_": "torch.nn.ReLU", key: value}})

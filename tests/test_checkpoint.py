"""Checkpoints: whole or not at all, read without running them, refused in one line."""

import os
import pickle
import signal
import sys
from pathlib import Path

import pytest
import torch
from helpers.processes import Printing
from helpers.tiny_models import TINY_VAE, tiny_vae, write_checkpoint

from lightning_gen.checkpoint import AtomicCheckpointIO, checkpoint_of, load_model, load_weights, read_checkpoint
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY, ImageGenerator
from lightning_gen.utilities.atomic_files import atomic_save


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, ImageGenerator]:
    """A checkpoint, and the model it is of."""
    path = tmp_path_factory.mktemp("saved") / "last.ckpt"
    return path, write_checkpoint(path, *TINY_VAE)


def refusal(path: Path) -> str:
    """The error that reading `path` ends in: one line that begins with the key and the value."""
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    message = str(error.value)
    assert message.startswith(f"checkpoint={path}: ")
    assert "\n" not in message
    return message


class RunsOnLoad:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_model_comes_back_from_the_file_alone(saved):
    path, model = saved
    latent = torch.randn(4, 3)
    for ema in (True, False):
        loaded = load_model(path, ema=ema)
        assert not loaded.training
        assert (loaded.image_shape, loaded.num_classes, loaded.images_seen) == ((1, 8, 8), None, 640)
        with model.averaged_weights(ema):
            assert torch.equal(loaded.decode(latent), model.decode(latent))
        assert bool(loaded.averages) is not ema


def test_a_folder_means_its_best_else_its_last(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match=r"a folder without checkpoints/best\.ckpt, "):
        checkpoint_of(tmp_path)
    for name in ("last.ckpt", "best.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
        assert checkpoint_of(tmp_path) == tmp_path / "checkpoints" / name
    assert checkpoint_of(tmp_path / "a.ckpt") == tmp_path / "a.ckpt"


def test_a_missing_file_names_the_one_that_was_meant(saved, tmp_path):
    path, _ = saved
    assert refusal(path.with_name("lst.ckpt")).endswith(f"no such file; did you mean {path}?")
    assert refusal(tmp_path / "none" / "a.ckpt").endswith("no such file; lightning-gen runs lists your runs")
    with pytest.raises(UserError, match=r"^resume=.*no such file; lightning-gen runs lists "):
        read_checkpoint(tmp_path / "a.ckpt", key="resume")


@pytest.mark.parametrize("kept", [0, 1, 2, 4, 30, 1000, 0.3, 0.9, -30, -1])
def test_a_file_cut_short(saved, tmp_path, kept):
    whole = saved[0].read_bytes()
    path = tmp_path / "a.ckpt"
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    assert "cut short" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"name: vae\n",
        b"a text",
        b"Run of a model\n",
        b'{"state_dict": {}}',
        b"\x89PNG\r\n\x1a\n\0\0",
        b"\0" * 5000,
        pickle.dumps({KEY: {}}),
    ],
)
def test_a_file_of_another_kind(tmp_path, content):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    assert "not a checkpoint" in refusal(path)


def test_damaged_bytes_end_in_one_line(saved, tmp_path):
    whole, random = saved[0].read_bytes(), torch.Generator().manual_seed(0)
    start = whole.index(b"data.pkl")
    path = tmp_path / "a.ckpt"
    for _ in range(60):
        content = bytearray(whole)
        for place in torch.randint(start, start + 3000, (20,), generator=random).tolist():
            content[place] ^= 0x55
        path.write_bytes(content)
        refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_and_never_run(tmp_path, zipped):
    path, marker = tmp_path / "a.ckpt", tmp_path / "marker"
    torch.save(
        {"state_dict": {"a": torch.zeros(2)}, KEY: RunsOnLoad(marker)}, path, _use_new_zipfile_serialization=zipped
    )
    assert ("refused" if zipped else "not a checkpoint") in refusal(path)
    with pytest.raises(UserError):
        load_model(path)
    with pytest.raises(UserError):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=False)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # it would have run
    assert marker.exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], torch.zeros(3)])
def test_checkpoints_of_others(tmp_path, content):
    torch.save(content, tmp_path / "a.ckpt")
    assert "not written by lightning-gen" in refusal(tmp_path / "a.ckpt")


def test_weights_of_another_size_are_named(saved):
    weights = saved[1].state_dict()
    other, _ = tiny_vae("model.latent_dim=4")
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(other, weights, "init_from=a.ckpt")
    message = str(error.value)
    assert message.startswith("init_from=a.ckpt: ")
    assert "the first is encoder.layers.5.weight: (6, 512) in the checkpoint, (8, 512) here" in message
    assert "\n" not in message
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize(("change", "message"), [("missing", "absent in the checkpoint"), ("extra", "absent here")])
def test_absent_weights_are_named(saved, change, message):
    model = saved[1]
    weights = model.state_dict()
    if change == "missing":
        del weights["decoder.layers.0.weight"]
    else:
        weights["decoder.other"] = torch.zeros(2)
    with pytest.raises(UserError, match=f"1 of .* decoder.*{message}"):
        load_weights(model, weights, "checkpoint=a.ckpt")


def test_checkpoints_make_their_folder(tmp_path):
    path = tmp_path / "new" / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({KEY: {"a": 1}, "state_dict": {"w": torch.ones(2)}}, path)
    assert torch.load(path, weights_only=True)["state_dict"]["w"].tolist() == [1, 1]


def save_within(path: Path, limits: list[int]) -> None:
    """Save a checkpoint once for each limit on the size of a file, and print what happens."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    state = {"weights": torch.ones(300_000), "others": [torch.ones(1000) for _ in range(50)]}
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            AtomicCheckpointIO().save_checkpoint(state, path)
            outcome = "saved"
        except OSError as error:
            outcome = f"OSError {error.errno}"
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(outcome, flush=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
@pytest.mark.slow
def test_a_full_disk_is_an_os_error_and_the_old_checkpoint_stays(tmp_path):
    path = tmp_path / "run" / "last.ckpt"
    path.parent.mkdir()
    atomic_save({KEY: {"images_seen": 7}}, path)
    # In the header, between tensors, within one, in the directory at the end: torch fails differently at each.
    limits = [0, 1, 100, 5_000, 1_000_000, 1_210_000, 1_300_000, 1_410_000]
    process = Printing(save_within, path, limits, folder=tmp_path)
    process.wait()
    assert process.out.splitlines() == ["OSError 27"] * len(limits), process.err
    assert torch.load(path, weights_only=True)[KEY] == {"images_seen": 7}
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_model_comes_back_with_other_values(saved):
    path, _ = saved
    assert load_model(path, changes={"beta": 4.0}).beta == 4.0
    with pytest.raises(UserError, match=r"model\.betta=4\.0: .* did you mean model\.beta"):
        load_model(path, changes={"betta": 4.0})
    with pytest.raises(UserError, match="tensors don't fit"):
        load_model(path, changes={"latent_dim": 5})


DROPPED = object()


@pytest.mark.parametrize(
    ("entry", "value", "told"),
    [
        ("state_dict", DROPPED, "it lacks state_dict"),
        ("state_dict", [1], "state_dict is [1], expected mapping of keys to values"),
        ("state_dict.encoder", 3, "state_dict.encoder is no tensor"),
        ("lightning_gen", [1], "lightning_gen is [1], expected mapping"),
        ("lightning_gen.config", DROPPED, "it lacks lightning_gen.config"),
        ("lightning_gen.config", "abc", "lightning_gen.config is 'abc', expected mapping"),
        ("lightning_gen.config.model", DROPPED, "it lacks lightning_gen.config.model"),
        ("lightning_gen.config.model", None, "lightning_gen.config.model is None, expected mapping"),
        ("lightning_gen.config.data", 2.5, "lightning_gen.config.data is 2.5, expected mapping"),
        ("lightning_gen.config.seed", "abc", "its config is damaged: seed=abc: expected int"),
        ("lightning_gen.config.metrics", 3, "its config is damaged: metrics=3: expected mapping"),
        ("lightning_gen.config.run_dir", [1, 2], "its config is damaged: run_dir=[1, 2]: expected str"),
        (
            "lightning_gen.image_shape",
            [1, 8],
            "lightning_gen.image_shape is [1, 8], expected list of int of at least 1",
        ),
        ("lightning_gen.image_shape", [1, 0, 8], "lightning_gen.image_shape is [1, 0, 8], expected list"),
        ("lightning_gen.image_shape", "1x8x8", "lightning_gen.image_shape is '1x8x8', expected list"),
        ("lightning_gen.num_classes", 0, "lightning_gen.num_classes is 0, expected int of at least 1 or null"),
        ("lightning_gen.images_seen", -1, "lightning_gen.images_seen is -1, expected int of at least 0"),
        ("lightning_gen.images_seen", 2.5, "lightning_gen.images_seen is 2.5, expected int of at least 0"),
    ],
)
def test_what_a_checkpoint_lacks_or_has_of_another_type_is_named(saved, tmp_path, entry, value, told):
    content = torch.load(saved[0], weights_only=True)
    *parents, name = entry.split(".")
    node = content
    for parent in parents:
        node = node[parent]
    if value is DROPPED:
        del node[name]
    else:
        node[name] = value
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    assert told in refusal(path)
    with pytest.raises(UserError, match=r"damaged"):
        load_model(path)


@pytest.mark.parametrize(
    ("key", "value"), [("latent_dim", None), ("likelihood", None), ("encoder", "abc"), ("prior", -1), ("compile", -1)]
)
def test_the_config_of_a_saved_model_is_checked_as_one_from_the_command_line(saved, tmp_path, key, value):
    content = torch.load(saved[0], weights_only=True)
    content[KEY]["config"]["model"][key] = value
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    with pytest.raises(UserError, match=rf"^model\.{key}=.*: expected "):
        load_model(path)


def test_tensors_that_do_not_fit_are_counted_once(saved):
    state = {f"other.{name}": tensor for name, tensor in saved[1].state_dict().items()}
    count = len(state)
    with pytest.raises(UserError, match=rf": {2 * count} of {2 * count} tensors don't fit"):
        load_weights(saved[1], state, "checkpoint=a")

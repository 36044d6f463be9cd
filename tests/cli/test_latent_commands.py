"""`interpolate`, `project` and `neighbors`: what they find, what they write, and what they refuse in one line."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import TINY_DCGAN, TINY_STYLEGAN, TINY_VAE, tiny_vae, write_checkpoint
from PIL import Image

from lightning_gen.cli import main
from lightning_gen.cli.commands import neighbors
from lightning_gen.cli.commands.interpolate import strip_stride
from lightning_gen.cli.commands.neighbors import report, search
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose, conf_dir
from lightning_gen.config.options import list_groups
from lightning_gen.config.validation import primary_keys
from lightning_gen.errors import UserError
from lightning_gen.images import to_uint8
from lightning_gen.metrics.neighbors import Nearest
from lightning_gen.sampling import latent_space
from lightning_gen.sampling.captions import row_captions
from lightning_gen.sampling.latent_space import LatentSpace, StyleSpace, slerp, space_of, walk
from lightning_gen.sampling.projection import Descent, Prior, distance, project


def run(command, *overrides):
    return main([command, *overrides, "device=cpu"])


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


class Linear:
    """Two-step model whose styles are twice its latents, and whose images are its styles."""

    device, num_classes = torch.device("cpu"), None

    def latent(self, n):
        return torch.randn(n, 64)

    def decode(self, latent, labels=None):
        return self.decode_style(self.style(latent)).clamp(-1, 1)

    def draw_labels(self, n):
        return None

    def style(self, latent, labels=None):
        return 2 * latent + 5

    def decode_style(self, style):
        return (style - 5).view(-1, 1, 8, 8) / 8

    def requires_grad_(self, needed):
        return self


class TestSpaces:
    def test_slerp_keeps_to_the_sphere(self):
        start, end = torch.tensor([[2.0, 0], [1, 0]]), torch.tensor([[0, 2.0], [1, 0]])
        half = slerp(start, end, 0.5)
        torch.testing.assert_close(half, torch.tensor([[2**0.5, 2**0.5], [1, 0]]))
        torch.testing.assert_close(slerp(start, end, 0.0), start)
        torch.testing.assert_close(slerp(start, end, 1.0), end)
        assert slerp(start, -start, 0.5).isfinite().all()
        assert slerp(start * 0, end, 0.5).isfinite().all()

    def test_auto_is_w_where_there_are_styles(self, tmp_path):
        vae, _ = tiny_vae()
        assert [space_of(m, "auto", tmp_path).name for m in (Linear(), vae)] == ["w", "z"]
        assert space_of(Linear(), "z", tmp_path).name == "z"

    def test_styles_go_straight(self):
        space = StyleSpace(Linear())
        start, end = space.sample(2, None)[:, None]
        torch.testing.assert_close(space.between(start, end, 0.25), 0.75 * start + 0.25 * end)
        torch.testing.assert_close(space.decode(start, None), (start - 5).view(1, 1, 8, 8) / 8)


class TestInterpolate:
    def test_walk_closes_its_loop_smoothly(self):
        model, _ = tiny_vae("model.conditional=true")
        with torch.no_grad():
            loop = walk(LatentSpace(model.eval()), 4, torch.arange(4), stops=4, steps=12, seed=0)
            frames = torch.stack(list(loop)).float()
        assert frames.shape == (48, 4, 1, 8, 8)
        steps = (frames - frames.roll(-1, 0)).abs().mean(dim=(1, 2, 3, 4))
        assert steps.min() > 0
        assert steps[-1] < 3 * steps[:-1].max()

    @pytest.mark.parametrize(("stops", "steps", "stride"), [(4, 12, 3), (2, 7, 1), (16, 12, 12), (40, 5, 5), (3, 1, 1)])
    def test_strip_shows_every_stop(self, stops, steps, stride):
        assert strip_stride(stops, steps) == stride

    def test_files(self, tmp_path, capsys):
        write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
        given = [f"checkpoint={tmp_path / 'a.ckpt'}", "n=3", "stops=2", "steps=8"]
        for out, seed in (("first", 0), ("second", 0), ("third", 1)):
            assert run("interpolate", *given, f"out={tmp_path / out}", f"seed={seed}") == 0
        assert "3 paths in z of VAE written to" in capsys.readouterr().out
        strip = read(tmp_path / "first" / "strip.png")
        assert strip.shape == (3 * 10 + 2, 16 * 10 + 2)
        with Image.open(tmp_path / "first" / "interpolation.gif") as gif:
            assert (gif.n_frames, gif.size) == (16, (22, 22))
        for name in ("strip.png", "interpolation.gif"):
            first, second, third = ((tmp_path / out / name).read_bytes() for out in ("first", "second", "third"))
            assert first == second != third

    def test_in_styles(self, tmp_path, capsys):
        write_checkpoint(tmp_path / "a.ckpt", *TINY_STYLEGAN, "model.conditional=true")
        for space in ("auto", "w", "z"):
            given = [f"checkpoint={tmp_path / 'a.ckpt'}", f"space={space}", f"out={tmp_path / space}", "n=2", "steps=2"]
            assert run("interpolate", *given) == 0
        strips = [(tmp_path / space / "strip.png").read_bytes() for space in ("auto", "w", "z")]
        assert strips[0] == strips[1] != strips[2]
        assert "2 paths in w of StyleGAN2" in capsys.readouterr().out


def descent(**changed):
    return Descent(
        **{"starts": 2, "steps": 150, "step_size": 0.1, "noise": 0.1, "prior_weight": 0.0, "batch_size": 64, "seed": 0}
        | changed
    )


class TestProject:
    @pytest.mark.parametrize("space", [LatentSpace, StyleSpace])
    def test_finds_latents_of_a_linear_model(self, space):
        space = space(Linear())
        torch.manual_seed(3)
        points = space.sample(3, None) * 0.4 if space.name == "z" else space.sample(3, None)
        targets = space.decode(points, None)
        found, images = project(space, targets, None, descent(steps=400))
        assert (found - points).abs().max() < 0.1
        torch.testing.assert_close(images, space.decode(found, None))

    def test_a_trained_gans_own_images_are_found_again(self, tmp_path):
        model = write_checkpoint(tmp_path / "a.ckpt", *TINY_DCGAN)
        torch.manual_seed(5)
        with torch.no_grad():
            targets, others = model.sample(8).split(4)
        before = (targets - others).square().mean()
        _, images = project(LatentSpace(model), targets, None, descent(starts=4))
        assert (images - targets).square().mean() < before / 10

    def test_the_best_start_counts(self, tmp_path):
        model = write_checkpoint(tmp_path / "a.ckpt", *TINY_DCGAN)
        with torch.no_grad():
            targets = model.sample(4)
        errors = []
        for starts in (1, 6):
            _, images = project(LatentSpace(model), targets, None, descent(starts=starts, steps=20))
            errors.append(distance(images, targets).mean())
        assert errors[1] < errors[0]

    def test_encoded_latents_get_better(self):
        model, data = tiny_vae("model.conditional=true")
        batch = next(data.batches("test", "cpu", limit=5))
        with torch.no_grad():
            before = distance(model.eval().reconstruct(*batch), batch.images)
        _, images = project(LatentSpace(model), *batch, descent(steps=50, prior_weight=0.01))
        assert (distance(images, batch.images) < before).all()

    def test_latents_stay_near_the_prior(self, tmp_path):
        model = write_checkpoint(tmp_path / "a.ckpt", *TINY_DCGAN)
        targets = torch.ones(2, 1, 16, 16)  # out of reach
        norms = []
        for weight in (0.0, 10.0):
            points, _ = project(LatentSpace(model), targets, None, descent(prior_weight=weight))
            norms.append(points.norm(dim=1) / 8**0.5)
        assert (norms[0] > 1.5).all()
        assert (norms[1] - 1).abs().max() < 0.2

    def test_units_are_standard_deviations(self):
        prior = Prior(StyleSpace(Linear()), seed=0)
        torch.testing.assert_close(prior.mean, torch.full((64,), 5.0), atol=0.2, rtol=0)
        torch.testing.assert_close(prior.std, torch.full((64,), 2.0), atol=0.2, rtol=0)
        units = torch.tensor([[2.0] * 64, [0.5] * 64])
        torch.testing.assert_close(prior.penalty(units, ball=False), torch.tensor([1.0, 0.25]))
        torch.testing.assert_close(prior.penalty(units, ball=True), torch.tensor([1.0, 0.0]))

    def test_images_of_the_data(self, tmp_path, capsys):
        write_checkpoint(tmp_path / "a.ckpt", *TINY_DCGAN, "model.conditional=true")
        given = [f"checkpoint={tmp_path / 'a.ckpt'}", "n=10", "steps=3", "starts=2"]
        for out, seed in (("first", 0), ("second", 0), ("third", 1)):
            assert run("project", *given, f"out={tmp_path / out}", f"seed={seed}") == 0
        first, second, third = (torch.load(tmp_path / out / "latents.pt") for out in ("first", "second", "third"))
        assert torch.equal(first["z"], second["z"])
        assert not torch.equal(first["z"], third["z"])
        assert (first["z"].shape, first["labels"].shape) == ((10, 8), (10,))
        lines = capsys.readouterr().out.splitlines()
        error = first["mse"].mean().item()
        assert lines[11].split()[:2] == ["mean", f"{error:.5f}"]
        picture = read(tmp_path / "first" / "projection.png")
        assert picture.shape[0] == 4 * 18 + 2  # two rows of targets, each with what was found under it
        picture = picture[:, -(8 * 18 + 2) :]  # beside captions
        last = (
            picture[2 + 2 * 18 :][:16, 2 + 18 :][:, :16] / 255.0,
            picture[2 + 3 * 18 :][:16, 2 + 18 :][:, :16] / 255.0,
        )
        assert np.square(last[0] - last[1]).mean() == pytest.approx(first["mse"][9].item(), rel=0.05)

    def test_image_files_of_any_size(self, tmp_path, capsys):
        write_checkpoint(tmp_path / "a.ckpt", *TINY_STYLEGAN)
        (tmp_path / "photos").mkdir()
        for number, size in enumerate([(16, 16), (40, 25), (9, 30)]):
            Image.new("RGB", size, (number * 90,) * 3).save(tmp_path / "photos" / f"{number}.png")
        given = [f"checkpoint={tmp_path / 'a.ckpt'}", "steps=2", "starts=1"]
        assert run("project", *given, f"images={tmp_path / 'photos'}", f"out={tmp_path / 'all'}") == 0
        assert run("project", *given, f"images={tmp_path / 'photos' / '1.png'}", f"out={tmp_path / 'one'}") == 0
        out = capsys.readouterr().out
        assert "3 projections to w of StyleGAN2" in out
        assert "1 projections to w" in out
        picture = read(tmp_path / "all" / "projection.png")[:, -(3 * 18 + 2) :]
        assert [picture[4, 4 + 18 * number] for number in range(3)] == [0, 90, 180]


class TestNeighbors:
    def test_nearest_is_that_of_all_at_once(self):
        torch.manual_seed(0)
        queries, others = torch.randn(5, 3), torch.randn(40, 3)
        nearest = Nearest(queries, 4)
        for part in others.split(7):
            nearest.update(part)
        distances, numbers = (queries[:, None] - others).norm(dim=2).topk(4, largest=False)
        torch.testing.assert_close(nearest.distances, distances)
        assert torch.equal(nearest.numbers, numbers)

    def test_copies_are_at_no_distance(self):
        _, data = tiny_vae()
        batch = next(data.batches("train", "cpu", limit=5))
        copies = to_uint8(batch.images)
        near, usual = search(data, lambda images: images.flatten(1).float(), copies, "test", None, 3, 0)
        assert near.distances[:, 0].tolist() == [0] * 5
        assert (near.distances[:, 1] > 0).all()
        assert (len(usual), bool((usual > 0).all())) == (16, True)
        assert "5 of 5 samples are nearer" in report(near.distances, usual, "test", "pixels")[-1]

    def test_files(self, tmp_path, capsys):
        write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE, "model.conditional=true")
        given = [f"checkpoint={tmp_path / 'a.ckpt'}", "extractor=none", "n=4", "k=3"]
        for out in ("first", "second"):
            assert run("neighbors", *given, f"out={tmp_path / out}") == 0
        picture = read(tmp_path / "first" / "neighbors.png")
        assert picture.shape[0] > 4 * 10 + 2  # below captions
        assert np.array_equal(picture, read(tmp_path / "second" / "neighbors.png"))
        out = capsys.readouterr().out
        line = np.flatnonzero((picture[-(4 * 10 + 2) :] == 255).all(0))[0]  # between samples and neighbors
        shown = picture[-(4 * 10 + 2) :]
        margin = row_captions(torch.zeros(1, 4 * 10 + 2, 0), [f"blob {number}" for number in range(4)]).shape[-1]
        sample, first = (shown[2:10, left : left + 8] / 255.0 for left in (margin + 2, line + 4))
        assert float(out.splitlines()[1].split()[1]) == pytest.approx(
            np.sqrt(np.square(sample - first).sum()), rel=1e-3
        )

    def test_in_an_extractors_features(self, tmp_path, monkeypatch):
        class Means(torch.nn.Module):
            name = "means"

            def forward(self, images):
                return images.float().mean((2, 3))

        monkeypatch.setattr("lightning_gen.cli.commands.neighbors.build_extractors", lambda config: {"means": Means()})
        write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
        config = compose([f"checkpoint={tmp_path / 'a.ckpt'}", "device=cpu", f"out={tmp_path / 'out'}"], "neighbors")
        neighbors.run(Job(config))
        assert (tmp_path / "out" / "neighbors.png").is_file()


COMMANDS = ("interpolate", "project", "neighbors")
MISTAKES = {
    "n=0": (COMMANDS, "n=0: expected int of at least 1"),
    "stops=1": (COMMANDS[:1], "stops=1: expected int of at least 2"),
    "steps=0": (COMMANDS[:2], "steps=0: expected int of at least 1"),
    "starts=0": (COMMANDS[1:2], "starts=0: expected int of at least 1"),
    "step_size=0.0": (COMMANDS[1:2], "step_size=0.0: expected float above 0"),
    "k=0": (COMMANDS[2:], "k=0: expected int of at least 1"),
    "k=100": (COMMANDS[2:], "k=100: data=fake has only 64 training images"),
    "split=train": (COMMANDS[2:], "split=train: no split that training images can be compared with"),
    "split=tset": (COMMANDS[1:], "split=tset: no s.*; did you mean test?"),
    "space=v": (COMMANDS[:2], "space=v: no such space; choose auto, z or w"),
    "space=ato": (COMMANDS[:2], "space=ato: no such space; did you mean auto?"),
    "space=w": (COMMANDS[:2], "space=w: VAE has no `style` and `decode_style`; give space=z"),
    "label=1": (COMMANDS, "label=1: this model is unconditional, leave out label"),
    "checkpoint={}/b.ckpt": (COMMANDS, "did you mean .*a.ckpt"),
    "out={}": (COMMANDS, "out={}: exists and is not an empty folder"),
    "images={}/gone.png": (COMMANDS[1:2], "images={}/gone.png: no such file or folder"),
    "images={}/phtos": (COMMANDS[1:2], "images={}/phtos: no such file or folder; did you mean {}/photos?"),
    "images={}/empty": (COMMANDS[1:2], "images={}/empty: there are no images"),
    "images={}/photos/bad.png": (COMMANDS[1:2], "images={}/photos/bad.png: .*bad.png cannot be read"),
    "resize=crpo images={}/photos": (COMMANDS[1:2], "resize=crpo: no such method; did you mean crop?"),
    "data=fake": (COMMANDS[1:], "data=fake: images are (3, 32, 32), the model makes (1, 8, 8)"),
    "spce=z": (COMMANDS[:2], "spce=z: no such key; did you mean space?"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    write_checkpoint(folder / "a.ckpt", *TINY_VAE)
    write_checkpoint(folder / "conditional.ckpt", *TINY_VAE, "model.conditional=true")
    (folder / "empty").mkdir()
    (folder / "photos").mkdir()
    (folder / "photos" / "bad.png").write_bytes(b"no picture")
    return folder


def one_line(capsys, command, *overrides):
    assert run(command, *overrides) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:7]) == ("", 1, "error: ")
    return err[7:-1]


@pytest.mark.parametrize(("mistake", "command"), [(m, c) for m, (commands, _) in MISTAKES.items() for c in commands])
def test_mistakes_end_in_one_line(mistake, command, folder, tmp_path, capsys):
    given = [] if mistake.startswith("checkpoint") else [f"checkpoint={folder / 'a.ckpt'}"]
    given += [] if mistake.startswith("out") else [f"out={tmp_path / 'out'}"]
    given += ["extractor=none"] if command == "neighbors" else []
    if mistake == "label=1" and command == "project":
        given.append(f"images={folder}/photos/bad.png")
    message = one_line(capsys, command, *given, *mistake.format(folder).split())
    expected = MISTAKES[mistake][1].replace("{}", str(folder))
    if mistake == "label=1" and command == "project":
        expected = "images=.*bad.png cannot be read"  # files come first
    place = 0
    for part in expected.split(".*"):
        assert part in message[place:], message
        place = message.index(part, place)
    assert not (tmp_path / "out").exists()


def test_conditional_models_need_the_class_of_files(folder, tmp_path, capsys):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    given = [f"checkpoint={folder / 'conditional.ckpt'}", f"images={tmp_path / 'a.png'}", f"out={tmp_path / 'out'}"]
    assert one_line(capsys, "project", *given).startswith("label=null: this model is conditional, give the images' cl")
    assert one_line(capsys, "project", *given, "label=7").startswith("label=7: this model has the classes 0 to 3")
    assert one_line(capsys, "project", *given, "label=[1,2]").startswith("label=[1, 2]: 2 labels for 1 images")
    assert run("project", *given, "label=2", "steps=2") == 0
    assert torch.load(tmp_path / "out" / "latents.pt")["labels"].tolist() == [2]


def test_models_without_latents_are_refused_with_the_reason(tmp_path):
    class OnlyDecodes:
        decode = Linear.decode

    with pytest.raises(UserError, match=r"^checkpoint=.*a.ckpt: OnlyDecodes has no `latent`, so there are no latents"):
        space_of(OnlyDecodes(), "auto", tmp_path / "a.ckpt")


@pytest.mark.parametrize("command", ["sample", *COMMANDS])
def test_models_that_generate_nothing_are_refused(command, folder, tmp_path, capsys, monkeypatch):
    from lightning_gen.models.vae import VAE

    monkeypatch.setattr(VAE, "generates", False, raising=False)
    message = one_line(capsys, command, f"checkpoint={folder / 'a.ckpt'}", f"out={tmp_path / 'out'}")
    assert message == f"checkpoint={folder / 'a.ckpt'}: VAE generates no images"


@pytest.mark.parametrize("command", ["sample", "evaluate", "inspect", *COMMANDS])
def test_help_is_of_this_command(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    keys, groups = primary_keys(conf_dir() / f"{command}.yaml")
    lines = [line.split() for line in text.splitlines() if line.startswith("  ")]
    assert keys.keys() <= {words[0].rstrip(":") for words in lines if words}
    shown = {words[0] for words in lines if words and words[0].split("/")[0] in list_groups()}
    assert {group.split("/")[0] for group in shown} == groups.keys()
    assert ("# a new or empty folder" in text) is (command not in ("evaluate", "inspect"))


def test_the_walk_is_shared():
    from lightning_gen.cli.commands import interpolate as interpolating
    from lightning_gen.cli.commands import sample as sampling

    assert sampling.walk is interpolating.walk is latent_space.walk

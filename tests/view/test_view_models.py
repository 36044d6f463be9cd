"""What models draw for the page of a checkpoint: only what they can do, within bounds, alike at each request."""

import asyncio
import base64
import json
import threading
from io import BytesIO

import pytest
import torch
from helpers.tiny_models import FAKE_DATA, TINY_GAN, TINY_STYLEGAN, TINY_VAE, write_checkpoint
from PIL import Image
from starlette.testclient import TestClient

from lightning_gen.errors import UserError
from lightning_gen.sampling.evaluation_mode import full_precision
from lightning_gen.view import drawing, uploads
from lightning_gen.view.actions import ACTIONS, Asked
from lightning_gen.view.app import make_app
from lightning_gen.view.shelf import Shelf
from lightning_gen.view.worker import MOST_WAITING, Busy, Worker

CONDITIONAL = [*TINY_VAE, "model=conditional_vae", "model.latent_dim=3"]
PIXELS = ["model=pixel_min_gru", "data.image_shape=[1,4,4]", "model.head_width=4", *FAKE_DATA]
FRAMES = [
    "model=frame_lstm",
    *FAKE_DATA,
    "data.image_shape=[4,1,8,8]",
    "data.num_classes=null",
    "model.context_frames=2",
]
MODELS = {
    "vae": TINY_VAE,
    "gan": TINY_GAN,
    "style": TINY_STYLEGAN,
    "classes": CONDITIONAL,
    "pixels": PIXELS,
    "frames": FRAMES,
}
WITH_LATENTS = ["vae", "gan", "style", "classes"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder, shelves = tmp_path_factory.mktemp("models"), {}

    def get(name: str):
        if name not in shelves:
            path = folder / name / "checkpoints/best.ckpt"
            write_checkpoint(path, *MODELS[name])
            shelf = Shelf("cpu", ())
            with full_precision():
                shelves[name] = shelf.get(path)
        return shelves[name]

    return get


def act(loaded, action: str, body: bytes = b"", **values) -> dict:
    with full_precision():
        return ACTIONS[action](loaded, Asked({name: str(value) for name, value in values.items()}, body))


def picture(answer: dict) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(answer["data"])))


def png(width: int = 8, height: int = 8, value: int = 255) -> bytes:
    file = BytesIO()
    Image.new("L", (width, height), value).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vae", {"latent", "interpolates", "reconstructs", "projects", "samples", "tempers"}),
        ("gan", {"latent", "interpolates", "projects", "samples", "truncates"}),
        ("style", {"latent", "interpolates", "projects", "samples", "truncates", "styles"}),
        ("classes", {"latent", "interpolates", "reconstructs", "projects", "samples", "classes", "tempers"}),
        ("pixels", {"samples", "completes", "tempers"}),
        ("frames", {"samples", "predicts"}),
    ],
)
def test_only_what_the_model_can_do(loaded, name, expected):
    about = act(loaded(name), "describe")
    assert {name for name in about if about[name] and name not in ("model", "shape", "images", "formats")} == expected


def test_latents_are_sorted_by_how_much_they_change_the_picture(loaded):
    found = loaded("vae")
    assert sorted(found.order) == list(range(3))
    assert found.effects == sorted(found.effects, reverse=True)
    changes = []
    for place in found.order:
        low, high = torch.zeros(3), torch.zeros(3)
        low[place], high[place] = -1.5, 1.5
        with full_precision():
            low, high = (drawing.decode(found, point, None) for point in (low, high))
        changes.append((high - low).abs().mean().item())
    assert changes[0] > changes[-1]


@pytest.mark.parametrize("name", WITH_LATENTS)
def test_a_point_and_its_picture(loaded, name):
    drawn = act(loaded(name), "point", seed=3)
    again = act(loaded(name), "decode", json.dumps({"point": drawn["point"]}).encode())
    assert act(loaded(name), "point", seed=3) == drawn
    assert act(loaded(name), "point", seed=4)["point"] != drawn["point"]
    first, second = (torch.tensor(list(picture(each).convert("L").tobytes())).int() for each in (drawn, again))
    assert (first - second).abs().max() <= 2  # the point is rounded


@pytest.mark.parametrize("name", ["gan", "style"])
def test_truncated_points_are_nearer_to_the_mean(loaded, name):
    whole, near = (torch.tensor(act(loaded(name), "point", truncation=t)["point"]) for t in (1, 0.3))
    assert near.norm() < 0.7 * whole.norm()
    assert getattr(loaded(name).model, "truncation") is None  # noqa: B009


def test_truncation_is_refused_by_others(loaded):
    with pytest.raises(UserError, match=r"truncation=0\.5: VAE does not truncate, give temperature=0\.5"):
        act(loaded("vae"), "samples", truncation=0.5)
    with pytest.raises(UserError, match=r"temperature=0\.5: GAN has no temperature, give truncation=0\.5"):
        act(loaded("gan"), "samples", temperature=0.5)


@pytest.mark.parametrize("name", ["vae", "pixels"])
def test_the_temperature_is_of_one_answer(loaded, name):
    own, cold, again = (act(loaded(name), "samples", n=4, temperature=t)["data"] for t in (1, 0.1, 1))
    assert own == again != cold
    assert getattr(loaded(name).model, "temperature") == 1  # noqa: B009


def test_cold_points_are_nearer_to_the_mean(loaded):
    whole, near = (torch.tensor(act(loaded("vae"), "point", temperature=t)["point"]) for t in (1, 0.25))
    assert near.norm() < 0.5 * whole.norm()


@pytest.mark.parametrize("name", ["vae", "style"])
def test_interpolation_goes_there_and_back(loaded, name):
    start, end = (act(loaded(name), "point", seed=seed)["point"] for seed in (0, 1))
    answer = act(loaded(name), "interpolate", json.dumps({"start": start, "end": end}).encode(), steps=5)
    assert answer["kind"] == "gif"
    moving = picture(answer)
    assert moving.n_frames <= 8  # equal neighbors are one
    assert moving.n_frames > 1


def test_a_row_for_each_class_and_samples_of_one(loaded):
    answer = act(loaded("classes"), "rows", n=2)
    assert picture(answer).height > picture(answer).width / 2
    assert act(loaded("classes"), "samples", n=4, label=2) != act(loaded("classes"), "samples", n=4, label=1)
    with pytest.raises(UserError, match=r"label=4: give a whole number from 0 to 3"):
        act(loaded("classes"), "samples", label=4)
    with pytest.raises(UserError, match="not conditional"):
        act(loaded("vae"), "rows")


def test_an_uploaded_picture(loaded):
    answer = act(loaded("vae"), "reconstruct", png(50, 20))
    assert len(answer["point"]) == 3
    answer = act(loaded("gan"), "project", png(), steps=3)
    assert "dB" in answer["note"]
    with pytest.raises(UserError, match="reconstructs no images"):
        act(loaded("gan"), "reconstruct", png())


def test_a_drawing_is_completed_below_the_given_rows(loaded):
    answers = [act(loaded("pixels"), "complete", png(4, 4), rows=2, seed=seed) for seed in (0, 0, 1)]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]
    with pytest.raises(UserError, match="rows=4: give a whole number from 1 to 3"):
        act(loaded("pixels"), "complete", png(4, 4), rows=4)


def test_further_frames_of_the_data_and_of_an_upload(loaded):
    answer = act(loaded("frames"), "predict", context=2, steps=5)
    assert picture(answer).n_frames > 1
    assert answer["film"]["kind"] == "png"
    still = act(loaded("frames"), "predict", png(), context=4, steps=2)  # one frame is given, whatever is asked
    assert still["film"]["width"] < answer["film"]["width"]


@pytest.mark.parametrize(
    ("action", "values", "body"),
    [
        ("samples", {"n": 0}, b""),
        ("samples", {"n": 101}, b""),
        ("samples", {"seed": -1}, b""),
        ("samples", {"seed": "1e3"}, b""),
        ("samples", {"seed": "९"}, b""),
        ("samples", {"n": "9" * 50}, b""),
        ("decode", {}, b""),
        ("decode", {}, b"[1, 2, 3]"),
        ("decode", {}, b'{"point": [1, 2]}'),
        ("decode", {}, b'{"point": [1, 2, NaN]}'),
        ("decode", {}, b'{"point": [[1], [2], [3]]}'),
        ("decode", {}, b'{"point": ["a", 2, 3]}'),
        ("decode", {}, b"[" * 100_000),
        ("interpolate", {"format": "exe"}, b'{"start": [0, 0, 0], "end": [1, 1, 1]}'),
        ("interpolate", {"steps": 61}, b'{"start": [0, 0, 0], "end": [1, 1, 1]}'),
        ("complete", {}, png()),
        ("predict", {}, b""),
    ],
)
def test_a_request_out_of_bounds_is_a_line(loaded, action, values, body):
    if action in ("predict",):
        body = png()
    with pytest.raises(UserError) as error:
        act(loaded("vae"), action, body, **values)
    assert "\n" not in str(error.value)


def test_points_far_out_are_brought_in(loaded):
    far, near = (json.dumps({"point": [value, 0, 0]}).encode() for value in (1e30, 6))
    assert act(loaded("vae"), "decode", far) == act(loaded("vae"), "decode", near)


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", png()[:40], b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"],
    ids=["empty", "text", "cut", "svg", "eps"],
)
def test_broken_and_foreign_uploads_are_refused(content):
    with pytest.raises(UserError, match="upload: is no picture that can be read"):
        uploads.image_of(content, (1, 8, 8))


def test_an_upload_of_many_pixels_is_refused_before_it_is_decoded(monkeypatch):
    content = png(20, 20)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    monkeypatch.setattr(uploads, "MOST_PIXELS", 100)
    with pytest.raises(UserError, match="upload: has 20 x 20 pixels"):
        uploads.image_of(content, (1, 8, 8))


def test_frames_of_an_animation_are_bounded():
    file = BytesIO()
    frames = [Image.new("L", (4, 4), value) for value in range(0, 250, 10)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    found = uploads.frames_of(file.getvalue(), (10, 3, 6, 5), most=7)
    assert found.shape == (1, 7, 3, 6, 5)
    assert found[0, 0].max() < found[0, 6].min()


def test_the_worker_refuses_more_than_can_wait():
    worker, go = Worker(), threading.Event()

    async def crowd() -> list:
        jobs = [asyncio.ensure_future(worker.run(go.wait)) for _ in range(MOST_WAITING + 5)]
        await asyncio.sleep(0.2)
        go.set()
        return await asyncio.gather(*jobs, return_exceptions=True)

    results = asyncio.run(crowd())
    assert any(isinstance(result, Busy) for result in results)
    assert sum(result is True for result in results) >= MOST_WAITING


def test_another_model_takes_the_place_of_the_first(tmp_path):
    shelf = Shelf("cpu", ())
    paths = [tmp_path / name for name in ("a.ckpt", "b.ckpt")]
    for path in paths:
        write_checkpoint(path, *TINY_VAE)
    with full_precision():
        first = shelf.get(paths[0])
        assert shelf.get(paths[0]) is first
        assert shelf.get(paths[1]) is not first
        assert shelf.get(paths[0]) is not first


def test_a_strangers_checkpoint_runs_nothing(tmp_path):
    """Of a class that no installed config names: refused in a line, by the app itself."""
    run = tmp_path / "run"
    write_checkpoint(run / "checkpoints/best.ckpt", *TINY_VAE)
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    content["lightning_gen"]["config"]["model"]["encoder"]["_target_"] = "os.system"
    torch.save(content, run / "checkpoints/best.ckpt")
    (run / "config.yaml").write_text("model: {}\n")
    app = make_app([tmp_path], "token", "view", (), "cpu", ())
    client = TestClient(app, base_url="http://localhost", cookies={"view": "token"})
    name = client.get("/").text.partition('name="run" value="')[2].partition('"')[0]
    answer = client.post(f"/play/{name}/best.ckpt/describe", headers={"origin": "http://localhost"})
    assert answer.status_code == 400
    assert "os.system" in answer.json()["error"]
    assert "nothing was run" in answer.json()["error"]

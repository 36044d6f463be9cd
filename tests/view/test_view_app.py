"""The app over run folders: its pages, and each request that is refused."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.run_folders import SAMPLES, write_run
from PIL import Image
from starlette.testclient import TestClient

from lightning_gen.view import app as app_module
from lightning_gen.view.app import make_app
from lightning_gen.view.library import Library

TOKEN, COOKIE, HOST = "a-token", "view", "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    write_run(folder / "one", "vae", 0.5)
    write_run(folder / "two", "dcgan", 0.25, steps=(100,))
    return folder


def client_of(folder: Path, **options) -> TestClient:
    app = make_app([folder], TOKEN, COOKIE, options.pop("names", ()), "cpu", ())
    return TestClient(app, base_url=HOST, **options)


@pytest.fixture(scope="module")
def client(outputs) -> TestClient:
    opened = client_of(outputs)
    opened.cookies.set(COOKIE, TOKEN)
    return opened


def address_of(client: TestClient, title: str) -> str:
    page = client.get("/", params={"q": title}).text
    return page.partition('name="run" value="')[2].partition('"')[0]


class TestAccess:
    @pytest.mark.parametrize("path", ["/", "/compare", "/own/view.css", "/runs/0/thumbnail"])
    def test_nothing_without_the_token(self, outputs, path):
        answer = client_of(outputs).get(path)
        assert answer.status_code == 401
        assert "one" not in answer.text

    @pytest.mark.parametrize("given", ["", "a-toke", "A-TOKEN", "ä"])
    def test_another_token_is_refused(self, outputs, given):
        opened = client_of(outputs)
        assert opened.get("/", params={"token": given}).status_code == 401
        opened.cookies.set("another", TOKEN)
        assert opened.get("/").status_code == 401

    def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_lack(self, outputs):
        opened = client_of(outputs)
        entrance = opened.get("/compare", params={"token": TOKEN, "run": 'a"b'})
        cookie = entrance.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in entrance.text
        assert 'url=/compare?run=a%22b"' in entrance.text
        assert opened.get("/").status_code == 200

    def test_an_entrance_leads_to_this_server(self, outputs):
        entrance = client_of(outputs).get("/%2Felsewhere.example/", params={"token": TOKEN})
        assert 'url=/elsewhere.example/"' in entrance.text

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[::2]:8765"])
    def test_foreign_names_are_refused(self, client, host):
        assert client.get("/", headers={"host": host}).status_code == 403

    @pytest.mark.parametrize("host", ["localhost:9000", "LOCALHOST", "[::1]:8765", "127.0.0.1", "gpu.lab:80"])
    def test_names_of_this_machine(self, outputs, host):
        opened = client_of(outputs, names=["GPU.lab"])
        assert opened.get("/", headers={"host": host, "cookie": f"{COOKIE}={TOKEN}"}).status_code == 200

    @pytest.mark.parametrize(
        "origin",
        [None, "null", "http://evil.example", "http://127.0.0.1:9999", "ftp://127.0.0.1:8765", "http://localhost:8765"],
    )
    def test_posts_from_elsewhere_are_refused(self, client, origin):
        headers = {"origin": origin} if origin else {}
        path = f"/play/{address_of(client, 'one')}/best.ckpt/describe"
        assert client.post(path, headers=headers).status_code == 403

    def test_every_answer_forbids_what_is_not_ours(self, client):
        for path in ("/", "/nowhere", "/own/view.css"):
            headers = client.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'none';")
            assert "http" not in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-frame-options"] == "DENY"


class TestTable:
    def titles(self, client, **values: str) -> list[str]:
        page = client.get("/", params=values | {"part": "rows"}).text
        return [part.partition('"')[0] for part in page.split('aria-label="Choose ')[1:]]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", ["one", "two"]),
            ("model=vae", ["one"]),
            ("kid<0.4", ["two"]),
            ("model.beta=0.5", ["one"]),
            ("TWO", ["two"]),
            ("kid<0.4 model=vae", []),
        ],
    )
    def test_filter(self, client, query, expected):
        assert sorted(self.titles(client, q=query)) == expected

    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ("kid/x", ["two", "one"]),
            ("-kid/x", ["one", "two"]),
            ("name", ["one", "two"]),
            ("-name", ["two", "one"]),
            ("images", ["two", "one"]),
        ],
    )
    def test_sort(self, client, sort, expected):
        assert self.titles(client, sort=sort) == expected

    def test_no_run_is_no_dead_end(self, tmp_path):
        opened = client_of(tmp_path)
        opened.cookies.set(COOKIE, TOKEN)
        assert "name other folders, as in lightning-gen view ." in opened.get("/").text

    @pytest.mark.parametrize("query", ["kld<1", "kid<low", "'one", "sort=kld"])
    def test_a_mistake_is_a_line_on_the_page(self, client, query):
        page = client.get("/", params={"q": query})
        assert page.status_code == 200
        assert 'role="alert"' in page.text

    def test_names_are_text(self, tmp_path):
        write_run(tmp_path / "<script>alert(1)</script>", "<b>vae</b>", 1.0)
        opened = client_of(tmp_path)
        opened.cookies.set(COOKIE, TOKEN)
        page = opened.get("/").text
        assert "<script>alert" not in page
        assert "<b>vae" not in page
        assert "&lt;b&gt;vae" in page

    def test_thumbnails_are_small_and_new_ones_are_made(self, tmp_path):
        run = write_run(tmp_path / "run", "vae", 1.0)
        Image.new("RGB", (1000, 2000)).save(run / "samples" / SAMPLES.format(300))
        opened = client_of(tmp_path)
        opened.cookies.set(COOKIE, TOKEN)
        address = f"/runs/{address_of(opened, 'run')}/thumbnail"
        small = opened.get(address)
        assert small.headers["content-type"] == "image/png"
        assert len(small.content) < 2_000
        (run / "samples" / SAMPLES.format(300)).write_bytes(b"\x89PNG damaged")
        assert opened.get(address).status_code == 404


class TestRuns:
    def test_the_report_is_made_now(self, client, outputs):
        page = client.get(f"/runs/{address_of(client, 'two')}").text
        assert "vae on" in page.lower() or "dcgan" in page.lower()
        assert "Content-Security-Policy" not in page  # it is a header here
        assert "<style" not in page
        assert not (outputs / "two/report.html").exists()

    def test_its_state_tells_of_new_pictures(self, tmp_path):
        run = write_run(tmp_path / "run", "vae", 1.0)
        opened = client_of(tmp_path)
        opened.cookies.set(COOKIE, TOKEN)
        address = f"/runs/{address_of(opened, 'run')}/state"
        before = opened.get(address).json()
        assert before["state"] == "finished"
        assert before["images"] == 200
        Image.new("L", (8, 8)).save(run / "samples" / SAMPLES.format(300))
        assert opened.get(address).json()["version"] != before["version"]

    def test_side_by_side(self, client):
        addresses = [address_of(client, title) for title in ("one", "two")]
        page = client.get("/compare", params={"run": addresses}).text
        assert "loss, validation" in page
        assert "model.beta" in page
        for address, step in zip(addresses, (200, 100), strict=True):
            path = f"/runs/{address}/samples/{SAMPLES.format(step)}"
            assert path in page
            assert client.get(path).headers["content-type"] == "image/png"

    @pytest.mark.parametrize("count", [0, 1, 7])
    def test_too_few_or_many_at_once(self, client, count):
        runs = [f"{n:016}" for n in range(count)]
        assert client.get("/compare", params={"run": runs}).status_code == 400


@pytest.fixture
def secret(tmp_path) -> Path:
    folder = tmp_path / "secret"
    write_run(folder, "hidden_model", 1.0)
    return folder


class TestFolder:
    @pytest.mark.parametrize(
        "name",
        [
            *("../config.yaml", "..%2Fconfig.yaml", "..%2f..%2fone%2fconfig.yaml", "%2Fetc%2Fpasswd", "config.yaml"),
            *("samples_0000000100.png%00", "....//config.yaml", "%252e%252e%252fconfig.yaml"),
        ],
    )
    @pytest.mark.parametrize("route", ["/runs/{}/samples/", "/play/{}/", "/own/", "/runs/"])
    def test_no_path_leads_out(self, client, route, name):
        answer = client.get(route.format(address_of(client, "one")) + name)
        assert answer.status_code in (404, 405)
        assert "run_dir" not in answer.text

    @pytest.mark.parametrize(
        "name", ["..", ".", "", "../config.yaml", "../../two/checkpoints/best.ckpt", "best.ckpt/."]
    )
    def test_checkpoints_are_those_that_are_listed(self, outputs, name):
        library = Library([outputs])
        run = next(run for run in library.runs().values() if run.path == outputs / "one")
        assert library.checkpoint(run, "best.ckpt") == outputs / "one/checkpoints/best.ckpt"
        assert library.checkpoint(run, name) is None

    def opened(self, folder: Path) -> TestClient:
        client = client_of(folder)
        client.cookies.set(COOKIE, TOKEN)
        return client

    @pytest.mark.parametrize("name", ["config.yaml", "environment.json", "evaluation.json", "metrics.csv"])
    def test_runs_of_links_to_elsewhere_are_left_out(self, tmp_path, secret, name):
        run = write_run(tmp_path / "shown/run", "vae", 1.0)
        (run / name).unlink()
        (run / name).symlink_to(secret / name)
        page = self.opened(tmp_path / "shown").get("/").text
        assert "1 left out" in page
        assert 'name="run"' not in page

    def test_a_pipe_does_not_hold_it_up(self, tmp_path):
        run = write_run(tmp_path / "run", "vae", 1.0)
        (run / "metrics.csv").unlink()
        os.mkfifo(run / "metrics.csv")
        assert "1 left out" in self.opened(tmp_path).get("/").text

    def test_linked_folders_pictures_and_checkpoints_are_refused(self, tmp_path, secret):
        run = write_run(tmp_path / "shown/run", "vae", 1.0)
        (tmp_path / "shown/linked").symlink_to(secret)
        (run / "samples" / SAMPLES.format(300)).symlink_to(secret / "samples" / SAMPLES.format(100))
        (run / "checkpoints/last.ckpt").symlink_to(secret / "checkpoints/best.ckpt")
        client = self.opened(tmp_path / "shown")
        assert "hidden_model" not in client.get("/").text
        address = address_of(client, "run")
        assert client.get(f"/runs/{address}/samples/{SAMPLES.format(300)}").status_code == 404
        assert client.get(f"/runs/{address}/thumbnail").status_code == 404
        assert client.get(f"/play/{address}/last.ckpt").status_code == 404

    def test_a_run_that_becomes_a_link_is_refused(self, tmp_path, secret, monkeypatch):
        monkeypatch.setattr("lightning_gen.view.library.EVERY", 1e9)
        run = write_run(tmp_path / "shown/run", "vae", 1.0)
        client = self.opened(tmp_path / "shown")
        address = address_of(client, "run")
        shutil.rmtree(run)
        run.symlink_to(secret)
        assert client.get(f"/runs/{address}").status_code == 404


class TestUploads:
    def test_a_large_body_is_refused_before_it_is_read(self, client, monkeypatch):
        monkeypatch.setattr(app_module, "MOST_BODY", 1000)
        path = f"/play/{address_of(client, 'one')}/best.ckpt/reconstruct"
        headers = {"origin": HOST}
        assert client.post(path, content=b"x" * 1001, headers=headers).status_code == 413
        parts = iter([b"x" * 600, b"x" * 600])  # without a length
        assert client.post(path, content=parts, headers=headers).status_code == 413
        assert client.post(path, headers=headers | {"content-length": "-1"}).status_code == 413

    def test_what_is_no_checkpoint_is_a_line(self, client):
        path = f"/play/{address_of(client, 'one')}/best.ckpt/describe"
        answer = client.post(path, headers={"origin": HOST})
        assert answer.status_code == 400
        assert "not a checkpoint" in answer.json()["error"]

    def test_get_draws_nothing(self, client):
        assert client.get(f"/play/{address_of(client, 'one')}/best.ckpt/describe").status_code == 405

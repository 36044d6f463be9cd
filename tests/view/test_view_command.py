"""`lightning-gen view`: mistakes in a line, and a server that answers until it is interrupted."""

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.run_folders import write_run

from lightning_gen.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "view nowhere: no such folder"),
        (["prot=1", "."], "prot=1: view has no such key; did you mean port?"),
        (["port=", "."], "port=: view has no such key"),
        (["port=99999", "."], "port=99999: give a number from 0 to 65535"),
        (["port=x", "."], "port=x: give a number"),
        (["host=203.0.113.1", "port=0", "."], "host=203.0.113.1 port=0: can't be listened on"),
    ],
)
def test_a_mistake_is_a_line(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["view", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert "\n" not in error


def test_without_the_extra(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_gen.cli.commands.view.find_spec", lambda name: None)
    assert main(["view", str(tmp_path)]) == 2
    assert "pip install 'lightning-gen[app]'" in capsys.readouterr().err


def test_a_port_that_is_taken(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["view", str(tmp_path), f"port={port}"]) == 2
    assert f"port={port}: can't be listened on" in capsys.readouterr().err


def test_it_serves_on_loopback_until_it_is_interrupted(tmp_path: Path):
    command = [sys.executable, "-m", "lightning_gen", "view", str(tmp_path), "port=0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        address = lines[1].strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert "refresh" in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(address.partition("?")[0], timeout=30)
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.strip() == "view stopped"
    assert errors == ""


PAGES = """
import re, sys
from pathlib import Path
from starlette.testclient import TestClient
from lightning_gen.view.app import make_app

client = TestClient(make_app([Path(sys.argv[1])], "t", "c", (), "cpu", ()), base_url="http://127.0.0.1")
client.cookies.set("c", "t")
one, two = re.findall('name="run" value="(.*?)"', client.get("/").text)
pages = [f"/runs/{one}", f"/runs/{one}/thumbnail", f"/play/{one}/best.ckpt", f"/compare?run={one}&run={two}"]
answers = [client.get(page) for page in pages]
assert all(answer.status_code == 200 for answer in answers), answers
assert "kid/x" in answers[-1].text
print(*sys.modules)
"""


def test_pages_need_no_torch(tmp_path):
    for name in ("one", "two"):
        write_run(tmp_path / name, "vae", 0.5)
    command = [sys.executable, "-c", PAGES, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "omegaconf" in done.stdout.split()  # the config was compared with its defaults
    assert not {"torch", "torchvision", "lightning"} & set(done.stdout.split())

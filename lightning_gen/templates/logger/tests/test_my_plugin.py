import json

from my_plugin import MyOption

from lightning_gen.testing import check_model


def test_my_option():
    check_model("mlp_vae", "logger=[my_option]", data="gray")


def test_a_resumed_run_goes_back(tmp_path):
    logger = MyOption(str(tmp_path))
    for images in (64, 128, 192):
        logger.log_metrics({"train/loss": 1.0}, step=images)
    MyOption(str(tmp_path)).rewind(128)
    lines = (tmp_path / "my_option.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"images": n, "train/loss": 1.0} for n in (64, 128)]

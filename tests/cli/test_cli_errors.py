"""Whatever is wrong on the command line ends in one line that names key, value and fix, before anything is made."""

import pytest
from helpers.commands import run_command

from lightning_gen import cli
from lightning_gen.cli import main


@pytest.fixture(autouse=True)
def no_work(monkeypatch, tmp_path):
    def never(path):
        raise AssertionError("work began")

    monkeypatch.setattr(cli, "load_run", never)
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


TRAIN = {
    "modle=vae": "modle=vae: no such key; did you mean model?",
    "+modle=vae": "modle=vae: train has no such key; did you mean model?",
    "++sede=1": "sede=1: train has no such key; did you mean seed?",
    "model=vea": "model=vea: no such option; did you mean model=vae?",
    "model=null": "model=null: choose one of ",
    "experiment=cifar10/r3gn": "experiment=cifar10/r3gn: no such option; did you mean experiment=cifar10/r3gan?",
    "experiment=gaussians": "experiment=gaussians: no such option; options: gaussians/gan, gaussians/r3gan",
    "metrics=[frechet,kidd]": "metrics=[frechet,kidd]: no such option; did you mean kid?",
    "model/likelihod=gaussian": "model/likelihod=gaussian: no such key; did you mean model/likelihood?",
    "model/likelihood=gausian": "model/likelihood=gausian: no such option; did you mean model/likelihood=gaussian?",
    "optimizer@model.optimzer=sgd": (
        "optimizer@model.optimzer=sgd: no such key; did you mean optimizer@model.optimizer?"
    ),
    "model.latnt_dim=3": "model.latnt_dim=3: no such key; did you mean model.latent_dim?",
    "+model.latnt_dim=3": "model.latnt_dim=3: VAE has no such key; did you mean model.latent_dim?",
    "++model.latnt_dim=3": "model.latnt_dim=3: VAE has no such key; did you mean model.latent_dim?",
    "trainer.max_image=3": "trainer.max_image=3: no such key; did you mean trainer.max_images?",
    "+trainer.max_epoch=3": "trainer.max_epoch=3: ImageTrainer has no such key; did you mean trainer.max_epochs",
    "++evaluation.num_sample=3": (
        "evaluation.num_sample=3: evaluation has no such key; did you mean evaluation.num_samples?"
    ),
    "++callbacks.progres.n=3": "callbacks.progres: expected an object with a _target_; did you mean callbacks.progress",
    "callbacks.progress=null": (
        "callbacks.progress=null: expected an object with a _target_; leave one out with ~callbacks.NAME"
    ),
    "model.latent_dim=abc": "model.latent_dim=abc: expected int",
    "seed=abc": "seed=abc: expected int",
    "seed=1.5": "seed=1.5: expected int",
    "seed=[1,2]": "seed=[1, 2]: expected int",
    "seed=1,2": "seed=1,2: several values; add -m to run each",
    "+seed=1": "+seed=1: seed is there already; leave out the +",
    "~seed": "~seed: train needs seed; give seed=VALUE",
    "~model": "~model: train needs model; choose one with model=OPTION",
    "~sed": "~sed: no such key; did you mean seed?",
    "seed": "seed: cannot be read; write key=value",
    "seed=[1": "seed=[1: cannot be read; write key=value",
    "=3": "=3: ",
    "run_dir=${nope}": "run_dir: Interpolation key 'nope' not found",
    "run_dir=${oc.env:LG_NO_SUCH_VARIABLE}": "run_dir: Environment variable 'LG_NO_SUCH_VARIABLE' not found",
    "model._target_=lightning_gen.models.vae.VEA": (
        "model._target_=lightning_gen.models.vae.VEA: lightning_gen.models.vae has no VEA; did you mean VAE?"
    ),
    "hydra.run.dri=x": "hydra.run.dri=x: no such key; did you mean hydra.run.dir?",
    "data.augment=[flp]": (
        "data.augment=[flp]: options are chosen with a slash, data/augment=[flp], and flp is none; "
        "did you mean data/augment=flip?"
    ),
    "callbacks.early_stopping.patience=3": (
        "callbacks.early_stopping.patience=3: early_stopping is not chosen; "
        "choose it too, as callbacks=[+early_stopping]"
    ),
    "model=[vae,gan]": "model=[vae,gan]: choose one, or add -m to run each: model=vae,gan",
    "model._target_=3": "model._target_=3: expected the name of a class or a function",
    "model.encoder._target_=null": "model.encoder._target_=null: expected the name of a class or a function",
    "run_dir=null": "run_dir=null: expected str",
    "seed=1 model=vae": "seed=1 model=vae: cannot be read; it has several key=value; give each by itself",
    "model=vae seed=1": "model=vae seed=1: cannot be read; it has several key=value; give each by itself",
    "seed = 1": "seed = 1: cannot be read; write key=value without spaces around the =",
    "=": "=: cannot be read; write key=value",
    "--model.latent_dim=16": "unrecognized arguments: --model.latent_dim=16; write model.latent_dim=16, or see ",
    "--seed=1": "unrecognized arguments: --seed=1; write seed=1, or see lightning-gen train --help",
    "--hepl": "unrecognized arguments: --hepl; write --help, or see lightning-gen train --help",
    "--dryrun": "unrecognized arguments: --dryrun; write --dry-run, or see lightning-gen train --help",
    "-model=vae": "no such flag: -model=vae; write model=vae, or see lightning-gen train --help",
    "--config-dir=nowhere": "Additional config directory",
    "--config-name=trian": "Cannot find primary config 'trian'",
}


@pytest.mark.parametrize("argument", list(TRAIN))
def test_train(argument, capsys):
    status = main(["train", argument])
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {TRAIN[argument]}")
    assert (status, err.count("\n"), out) == (2, 1, "")


@pytest.mark.parametrize("name", ["dragan", "lecam"])
def test_the_schedule_of_a_penalty_is_a_function(name, capsys):
    key = f"model.penalty.{name}.schedule"
    status = main(["train", "model=gan", f"model/penalty=[{name}]", f"+{key}=abc"])
    out, err = capsys.readouterr()
    assert (status, out, err) == (2, "", f"error: {key}=abc: expected Callable or null\n")


@pytest.mark.parametrize("command", ["sample", "interpolate"])
def test_missing_checkpoint(command, capsys):
    assert main([command]) == 2
    assert capsys.readouterr().err == f"error: {command} needs checkpoint=PATH\n"


def test_a_second_mistake_does_not_hide_the_first(capsys):
    assert main(["train", "model.latnt_dim=3", "seeed=1"]) == 2
    err = capsys.readouterr().err
    assert "did you mean" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("second", ["sede=1", "trainer.nope=1", "metrics=[nope]"])
def test_a_key_is_never_its_own_suggestion(second, capsys):
    key = "model.encoder.width"  # the default model has it, this one has not
    assert main(["train", "model=gan", f"{key}=3", second]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"did you mean {key}" not in err


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model=vae", "model=vae: is the checkpoint's; change a value with +model.KEY=VALUE"),
        ("model=3", "model=3: the model is the checkpoint's; change a value of it with +model.KEY=VALUE"),
    ],
)
def test_what_is_of_the_checkpoint(override, told, capsys):
    assert main(["evaluate", "checkpoint=a", "metrics=[kid]", override]) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


def test_what_is_of_the_chosen_data(capsys):
    assert main(["evaluate", "checkpoint=a", "data=fake", "data.sede=3"]) == 2
    assert capsys.readouterr().err == "error: data.sede=3: no such key; did you mean data.seed?\n"


def test_a_path_without_its_key(capsys):
    assert main(["sample", "/dev/null"]) == 2
    told = "error: /dev/null: cannot be read; name what the path is, as checkpoint=/dev/null\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("word", "fix"),
    {
        "run": "name what the path is, as run_dir=run resume=true",
        "images": "name what the path is, as data=folder data.path=images",
        "vae": "did you mean model=vae?",
    }.items(),
)
def test_a_word_without_its_key(word, fix, tmp_path_factory, monkeypatch, capsys):
    folder = tmp_path_factory.mktemp("folder")
    monkeypatch.chdir(folder)
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "images").mkdir()
    assert main(["train", word]) == 2
    assert capsys.readouterr().err == f"error: {word}: cannot be read; {fix}\n"


def test_multirun_with_a_mistake_everywhere(capsys):
    assert main(["train", "-m", "modle=vae", "seed=1,2"]) == 2
    assert capsys.readouterr().err == "error: modle=vae: no such key; did you mean model?\n"


def test_environment_is_as_before(monkeypatch):
    import os

    before = dict(os.environ)
    main(["train", "modle=vae"])
    assert dict(os.environ) == before


@pytest.mark.slow
def test_as_a_process(tmp_path):
    done = run_command("train", "model.latent_dim=abc", cwd=tmp_path)
    error = "error: model.latent_dim=abc: expected int of at least 1\n"
    assert (done.returncode, done.stderr) == (2, error)
    assert done.stdout.startswith("lightning-gen: vae on mnist5k, cpu, outputs/vae/mnist5k/")
    assert not list(tmp_path.iterdir())


TORCHRUN = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "run"}
SLURM = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "1", "SLURM_NODEID": "0"}


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize(
    ("ranks", "others"), [(("RANK", "LOCAL_RANK"), TORCHRUN), (("SLURM_PROCID", "SLURM_LOCALID"), SLURM)]
)
def test_ranks_of_an_outside_launcher_print_an_error_once(ranks, others, rank, monkeypatch, capsys):
    for name, value in {**others, **dict.fromkeys(ranks, rank)}.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "modle=vae"]) == 2
    assert bool(capsys.readouterr().err) is (rank == "0")

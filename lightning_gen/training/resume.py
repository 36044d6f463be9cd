"""The five ways to start a run: each gives a config and a checkpoint to load.

- new: `resume` and `init_from` are null.
- continue: `run_dir=PATH resume=true` goes on with the run in that folder, under its own config; `resume=auto`, which
  restarts by Slurm and torchrun imply, does so if there is one, and else starts it.
- warm start: `resume=CHECKPOINT` takes that run's config and whole state into a new folder.
- finetune: `init_from=CHECKPOINT` takes its model config and weights, nothing else.
- repeat: `again=RUN` takes that run's config, and none of its weights, into a new folder.

Overrides of the command line apply in all of them: they are composed on the options that the run was composed of, and
what they change is changed in its saved config. All else stays as it was saved.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from lightning_gen.checkpoint import checkpoint_of, read_checkpoint, saved_config
from lightning_gen.config.by_data import choose_as
from lightning_gen.config.composition import compose_unresolved, finish
from lightning_gen.config.containers import as_dict
from lightning_gen.config.hydra_errors import explained
from lightning_gen.config.run_options import (
    OPTIONS,
    installed_options,
    is_of_model,
    names_start,
    not_among,
    options_among,
)
from lightning_gen.config.saved import installed_hashes, leaves, read_saved_yaml, targets_in, trusting
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY
from lightning_gen.training.codes import keep_first_stage
from lightning_gen.training.repetition import check_repeatable
from lightning_gen.utilities.compat import hydra_config
from lightning_gen.utilities.launchers import was_restarted

START_KEYS = ("run_dir", "resume", "init_from", "again", "trust")  # of the new run, not of the one it starts from
# A stranger's file must not decide where a run writes, whom it tells, and which weights may be opened by their hash.
CONFIRMED_GROUPS = ("callbacks", "extractor", "logger", "metrics", "trainer")
FOLDER_KEYS = ("dir", "dirpath", "folder", "path")  # ends of keys whose value may be the run's folder
CONFIRMED_KEYS = {"default_root_dir", "dir", "dirpath", "folder", "save_dir", "settings", "sha256", "tracking_uri"}
AUTO = "auto"  # of `resume`
_ABSENT = object()


@dataclass
class Start:
    """The start of a run: its config, and a checkpoint if there is one."""

    config: DictConfig
    in_place: bool = False  # continue the run that is in the folder already
    state: Path | None = None  # a checkpoint to load completely: weights, optimizers, counters
    weights: Path | None = None  # a checkpoint to load the weights of
    again: Path | None = None  # the folder of a run to repeat
    options: list[str] = field(default_factory=list)  # that the config was composed of
    changes: list[str] = field(default_factory=list)  # of the saved config, by the command line

    @property
    def continues(self) -> bool:
        """Whether it goes on with a run, in its folder or from its state."""
        return self.in_place or self.state is not None


class SavedRun(NamedTuple):
    """The run that another one starts from."""

    origin: str  # as it was typed, for errors
    checkpoint: Path | None  # None if it ended before its first one
    config: dict[str, Any]  # checked; only its model to finetune
    options: list[str] | None  # None in files from before they were saved


def start_of(config: DictConfig, overrides: Sequence[str] = ()) -> Start:
    """The start by `resume` and `init_from` of a composed config; `overrides` are those of the command line."""
    run = saved_run(config, targets_in(as_dict(config)))
    if run is None:
        return Start(config, options=options_among(overrides))
    merged = _merged(config, run, overrides)
    again = None if _continues(config) else config.again  # a restarted job types it again
    if again:
        check_repeatable(merged, run.config, run.origin)
    else:
        keep_first_stage(merged, run.config, in_place=_continues(config))
    if config.init_from and not _continues(config):
        return Start(merged, weights=run.checkpoint, options=_with(run.options, overrides, of_model=True))
    merged = confirmed(config, merged, run.origin)
    before = _saved_values(run, config.run_dir)
    changed = _differences(before, _part(as_dict(merged), before))
    changes = [f"{'.'.join(path)}: {_brief(old)} -> {_brief(new)}" for path, old, new in changed]
    return Start(
        merged,
        in_place=_continues(config),
        state=run.checkpoint,
        again=Path(again) if again else None,
        options=_with(run.options, overrides),
        changes=changes,
    )


def saved_run(config: DictConfig, targets: Sequence[str]) -> SavedRun | None:
    """The run that `resume`, `init_from` and `again` of a config name; None for a new run.

    It may name `targets`, which are typed again, as by the command line of a requeued job.
    """
    with trusting(config.trust or ()), trusting(targets):
        if _continues(config):
            return _run_in(Path(config.run_dir))
        resume = None if config.resume == AUTO else config.resume
        if config.again and (resume or config.init_from):
            raise UserError(f"again={config.again}: starts without weights; leave out resume and init_from")
        if config.again:
            return _run_in(Path(config.again), key="again")._replace(checkpoint=None)
        if resume and config.init_from:
            fix = f"can't be used with resume={config.resume}; use one of them"
            raise UserError(f"init_from={config.init_from}: {fix}")
        key = "init_from" if config.init_from else "resume"
        if not (config.init_from or resume):
            return None
        path = checkpoint_of(config[key], key=key)
        content = read_checkpoint(path, key=key)
        origin = f"{key}={path}"
        model_alone = key == "init_from"
        saved = {"model": saved_config(content, origin, "model")} if model_alone else saved_config(content, origin)
        return SavedRun(origin, path, saved, _options(content[KEY].get(OPTIONS)))


def _continues(config: DictConfig) -> bool:
    # The run id of a restarted job, and so its folder, stays the same.
    if_any = config.resume == AUTO or was_restarted()
    return config.resume is True or (if_any and (Path(config.run_dir) / "config.yaml").is_file())


def _run_in(folder: Path, key: str = "run_dir") -> SavedRun:
    if not folder.is_dir() or not (folder / "config.yaml").is_file():
        needs = "resume=true needs run_dir=PATH of" if key == "run_dir" else "name"
        do = "resume" if key == "run_dir" else "repeat"
        raise UserError(f"{key}={folder}: no run to {do} there; {needs} a run's folder")
    saved = read_saved_yaml(folder / "config.yaml", f"{key}={folder}")
    options = _options(saved.pop(OPTIONS, None))
    checkpoints = [folder / "checkpoints" / name for name in ("last.ckpt", "best.ckpt")]
    return SavedRun(f"{key}={folder}", next((p for p in checkpoints if p.is_file()), None), saved, options)


def _options(saved: Any) -> list[str] | None:
    return None if saved is None else installed_options(saved)


def _with(options: list[str] | None, overrides: Sequence[str], of_model: bool = False) -> list[str]:
    """A run's options and those of the command line, which replace them; `of_model`: only the model's of the run's."""
    own = [option for option in options or [] if not of_model or is_of_model(option)]
    return [*not_among(own, overrides), *options_among(overrides)]


def options_of_resumed(overrides: Sequence[str]) -> list[str]:
    """The options of the run that the overrides of a command line resume or take weights from; else none.

    They belong before these overrides, which then find the keys of that run's config, and in place of those of the
    same key.
    """
    try:
        run = _resumed(overrides, [text.partition("._target_=")[2] for text in overrides if "._target_=" in text])
    except UserError:  # told by `start_of`, which knows all that is typed
        return []
    return _composing(run) if run and run.options is not None else []


def compose_run(overrides: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """The checked config of `train` with these overrides, and with those of the run that they resume, if any."""
    overrides = list(overrides)
    starts = names_start(overrides)
    if starts:
        overrides = [*options_of_resumed(overrides), *overrides]
    config, node = compose_unresolved("train", overrides)
    if starts:
        with explained("train", overrides), hydra_config(node):
            fill_missing(config, overrides)
    return finish(config, node, "train"), overrides


def fill_missing(config: DictConfig, overrides: Sequence[str]) -> None:
    """Give the keys without a value (`???`) of an unresolved config the value that they have in a resumed run."""
    if OmegaConf.missing_keys(config):
        plain: Any = OmegaConf.to_container(config, resolve=False)
        _fill(config, _resumed(overrides, targets_in(plain)))


def _fill(config: DictConfig, run: SavedRun | None) -> None:
    saved = OmegaConf.create(run.config if run else {})
    for key in OmegaConf.missing_keys(config):
        value = OmegaConf.select(saved, key)
        if value is not None:
            OmegaConf.update(config, key, value)


def _resumed(overrides: Sequence[str], targets: Sequence[str]) -> SavedRun | None:
    """The run that START_KEYS among overrides name, if they are plain."""
    texts = [text for text in overrides if text.lstrip("+").partition("=")[0] in START_KEYS]
    try:
        parsed = OverridesParser.create().parse_overrides(texts)
    except OverrideParseException:
        return None  # told when Hydra reads them
    values = {override.key_or_group: override.value() for override in parsed}
    typed = {key: getattr(value, "text", value) for key, value in values.items()}
    nothing = type(None)
    kinds = {"run_dir": (str,), "resume": (str, bool, nothing), "trust": (str, list)}
    kinds |= dict.fromkeys(("init_from", "again"), (str, nothing))
    if not all(isinstance(value, kinds[key]) for key, value in typed.items()):
        return None  # told with the types of all keys
    if typed.get("resume") in (True, AUTO) and not typed.get("run_dir"):
        return None
    return saved_run(OmegaConf.create(dict.fromkeys(START_KEYS) | {"run_dir": ""} | typed), targets)


def _composing(run: SavedRun) -> list[str]:
    """The options that compose the config of a run again; to finetune, those of its model."""
    options = run.options or []
    if run.config.keys() != {"model"}:
        return options
    _, node = compose_unresolved("train", options)
    model = f"model={node.runtime.choices.model}"  # which may be from an experiment
    return [model, *not_among([option for option in options if is_of_model(option)], [model])]


def _merged(composed: DictConfig, run: SavedRun, overrides: Sequence[str]) -> DictConfig:
    """The config of a saved run with what the overrides change, and START_KEYS of `composed`."""
    saved = _saved_values(run, composed.run_dir)
    config = as_dict(composed) | saved
    chosen = set()
    if run.options is not None and not not_among(_composing(run), overrides):  # else they were not composed on
        chosen = set(options_among(overrides))
        before, after = _composed_again(run, composed), as_dict(composed)
        for path, _, value in _differences(_part(before, saved), _part(after, saved)):
            _update(config, path, value)
    merged = OmegaConf.create(config)
    # What is typed counts, even if it is what the options have: the saved value may be another one.
    for override in OverridesParser.create().parse_overrides([text for text in overrides if text not in chosen]):
        path = override.package or override.key_or_group.replace("/", ".")
        value = OmegaConf.select(composed, path)
        if value is not None or not override.is_delete():
            OmegaConf.update(merged, path, value, force_add=True, merge=False)
    return merged


def _saved_values(run: SavedRun, run_dir: str) -> dict[str, Any]:
    """The saved config without START_KEYS, for the folder `run_dir`."""
    old = run.config.get("run_dir")
    return {key: _moved(value, old, run_dir) for key, value in run.config.items() if key not in START_KEYS}


def _composed_again(run: SavedRun, composed: DictConfig) -> dict[str, Any]:
    """The config by a run's options alone, without the other overrides of `composed`.

    Only its likelihood follows the data of `composed`: other data alone must not change that of a trained model.
    """
    config, node = compose_unresolved("train", [*_composing(run), "run_dir=null"])
    config.run_dir = composed.run_dir
    choose_as(config, composed)
    _fill(config, run)
    return as_dict(finish(config, node, "train"))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple]:
    """Path, old and new value of each difference; objects of different classes differ as a whole."""
    for key in {**old, **new}:
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if isinstance(before, dict) and isinstance(after, dict) and before.get("_target_") == after.get("_target_"):
            yield from _differences(before, after, (*path, key))
        elif before != after:
            yield (*path, key), before, after


def _part(config: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: config[key] for key in keys if key in config}


def _update(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *parents, key = path
    for parent in parents:
        config = config.setdefault(parent, {})
    if value is _ABSENT:
        config.pop(key, None)
    else:
        config[key] = value


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("_target_", "several keys"))
    return "absent" if value is _ABSENT else OmegaConf.to_yaml([value])[2:].strip()


def confirmed(composed: DictConfig, config: DictConfig, origin: str) -> DictConfig:
    """`config`; UserError for a path outside of the run's folder, ..., that the command line doesn't name as well."""
    known = installed_hashes() | {None}
    plain = as_dict(config)
    for path, key, value in leaves({group: plain[group] for group in CONFIRMED_GROUPS if group in plain}):
        if key not in CONFIRMED_KEYS or _is_inside(value, config.run_dir) or OmegaConf.select(composed, path) == value:
            continue
        if isinstance(value, dict | list) or value not in known:
            raise UserError(f"{origin}: refused, it sets {path}={value}; add this to the command line to confirm it")
    return config


def _is_inside(path: Any, folder: str) -> bool:
    root = os.path.abspath(folder)
    return isinstance(path, str) and os.path.commonpath([root, os.path.abspath(path)]) == root


def _moved(value: Any, old: str | None, new: str) -> Any:
    """`value` with its paths in the folder `old` moved to the folder `new`, where this run writes its files."""
    if isinstance(value, dict):
        # A run in the folder `cpu` has the accelerator `cpu`, which stays.
        folders = {key: new for key, item in value.items() if old and item == old and str(key).endswith(FOLDER_KEYS)}
        return {key: _moved(item, old, new) for key, item in value.items()} | folders
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    if old and isinstance(value, str) and value.startswith(old + "/"):
        return new + value[len(old) :]
    return value

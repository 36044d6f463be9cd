"""Hydra set up for our configs, and composing with it: without our checks, with its own errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_gen.config.plugins import add_to_search_path, conf_dir
from lightning_gen.config.run_id import register_resolver, reset_run_id
from lightning_gen.config.sizes import register_by_size
from lightning_gen.utilities.compat import hydra_set_aside

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Choice(NamedTuple):
    """An option that a config is composed of, and the key of the config that it fills."""

    group: str  # optimizer, model/likelihood
    option: str
    place: str  # model.optimizer, model.likelihood

    @property
    def key(self) -> str:
        """What chooses another option in its place: `optimizer@model.optimizer`, `model/likelihood`."""
        return self.group if self.place == self.group.replace("/", ".") else f"{self.group}@{self.place}"

    @property
    def part(self) -> str:
        """The last part of its place: `optimizer`, `likelihood`."""
        return self.place.rpartition(".")[2]


def compose_unchecked(command: str, overrides: Sequence[str]) -> "DictConfig":
    """The config as Hydra composes it, with its own node `hydra`; also inside a job, and where Hydra is in use."""
    import hydra

    with _initialized():
        return hydra.compose(command, list(overrides), return_hydra_config=True)


def files_of(command: str, overrides: Sequence[str]) -> list[tuple[str, str, str]]:
    """The YAML files that a config is composed of, in order: path in `conf/`, key of the config, file that names it."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    with _initialized():
        loader: Any = GlobalHydra.instance().config_loader()
        defaults = loader.compute_defaults_list(command, list(overrides), RunMode.RUN).defaults
    return [(default.config_path or "", default.package or "", default.parent or "") for default in defaults]


def choices_of(command: str, overrides: Sequence[str]) -> list[Choice]:
    """The options that a config is composed of; not those on which another option of the same group is built."""
    choices = []
    for path, place, parent in files_of(command, overrides):
        group, _, option = path.rpartition("/")
        if group and not parent.startswith(f"{group}/"):
            choices.append(Choice(group, option, place))
    return choices


@contextmanager
def _initialized() -> Iterator[None]:
    """Within it Hydra is initialized with our configs, and whatever it was used for before is set aside."""
    import hydra

    with hydra_set_aside(), hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


def prepare_hydra() -> None:
    """Prepare Hydra for composing a new run: our resolvers and the plugins' configs."""
    reset_run_id()
    register_resolver()
    register_by_size()
    add_to_search_path()

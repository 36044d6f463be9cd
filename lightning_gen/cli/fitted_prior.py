"""`prior=NAME` of commands with a checkpoint: a density of latents fitted after training, and its file.

It is fitted once, with the same seed each time, and kept beside the checkpoint, in a file named by both.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig

from lightning_gen.cli.checkpoint_options import load_data, tell
from lightning_gen.config.containers import as_dict
from lightning_gen.config.instantiation import instantiate
from lightning_gen.errors import UserError
from lightning_gen.extractors.weights import file_hash, hash_of
from lightning_gen.models.fitted_prior import check_encodes, codes_of, fit, new_prior, use
from lightning_gen.networks.latent_prior import Prior
from lightning_gen.origins.archive import check_archive
from lightning_gen.randomness import preserved_rng, seed_all
from lightning_gen.sampling.preparation import all_finite
from lightning_gen.utilities.atomic_files import atomic_save
from lightning_gen.utilities.progress import progress

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

KEY = "lightning_gen_prior"  # of its entry in a file
BATCH = 100  # images that are encoded at once


def use_prior(cfg: DictConfig, path: Path, model: "ImageGenerator") -> dict[str, Any] | None:
    """Let the model sample its latents from the density that `prior` chooses; its entry of the protocol, if any.

    UserError for a model without an encoder, or a damaged file.
    """
    chosen = {name: member for name, member in (as_dict(cfg.prior) if cfg.get("prior") else {}).items() if member}
    if not chosen:
        return None
    if len(chosen) > 1:
        raise UserError(f"prior=[{','.join(chosen)}]: choose one of them; a command uses one prior")
    ((name, config),) = chosen.items()
    key = f"prior={name}"
    check_encodes(model, key)
    with preserved_rng():
        seed_all("prior", 1)  # initial weights
        prior = new_prior(instantiate(config), model, key)
    settings = {option: value for option, value in config.items() if not option.startswith("_")}
    facts = {"name": name, **settings}
    file = path.with_name(f"{path.stem}.prior-{name}-{_hash(cfg, path, config)}.pt")
    if file.exists():
        _read(prior, file)
        print(f"{key}: read from {file}")
    else:
        _fit(prior, cfg, path, model, key)
        _keep(prior, facts, file, key)
    use(prior, model)
    return facts | {"fitted_to": "latents of the training images", "weights_sha256": hash_of(prior.state_dict())}


def _hash(cfg: DictConfig, path: Path, config: dict[str, Any]) -> str:
    """Of all that the density depends on: the checkpoint, its settings, and changes of the model and the data."""
    data = as_dict(cfg.data) if cfg.get("data") else {}
    content = [file_hash(path), config, bool(cfg.ema), as_dict(cfg.model), data]
    return hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def _fit(prior: Prior, cfg: DictConfig, path: Path, model: "ImageGenerator", key: str) -> None:
    data = load_data(cfg, path, model)
    if model.num_classes is not None:
        data.check_labels("train")
    count = data.split_sizes["train"]
    encode: Any = getattr(model, "posterior_of_classes", None)  # of a VAE
    with preserved_rng(), _without_gradients(model):
        seed_all("prior", 0)
        with progress(f"{key}: latents of training images", count) as advance:
            codes = codes_of(model, data.batches("train", model.device, batch_size=BATCH), advance)
        if not codes.latents.isfinite().all():
            raise UserError(f"checkpoint={path}: its latents hold NaN or infinity, its training diverged; use another")
        print(f"{key}: fitting to the latents of {count:,} training images")
        fit(prior, codes, encode)
    tell(data)


@contextmanager
def _without_gradients(model: "ImageGenerator") -> Iterator[None]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _keep(prior: Prior, facts: dict[str, Any], file: Path, key: str) -> None:
    """Write the file; without a right to do so the density is fitted anew each time."""
    state = {name: tensor.cpu() for name, tensor in prior.state_dict().items()}
    try:
        atomic_save({KEY: facts, "state_dict": state}, file)
        print(f"{key}: kept in {file}")
    except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError for a full disk
        print(f"{key}: not kept, {getattr(error, 'strerror', None) or error}")


def _read(prior: Prior, file: Path) -> None:
    """Load the weights of a density; no code of the file is run."""
    try:
        check_archive(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
        if KEY not in content:
            raise ValueError
        prior.load_state_dict(content["state_dict"])
        if not all_finite(prior):
            raise ValueError
    except Exception:  # damaged bytes make the unpickler raise anything
        raise UserError(f"prior: {file} is damaged, or of another program; remove it, to fit the prior again") from None

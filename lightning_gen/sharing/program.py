"""What is exported of a model as a program: a function of tensors, such as noise to images."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from lightning_gen.capabilities import Classifies, Encodes, HasLatent, HasLikelihood, Predicts
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.randomness import preserved_rng, seed_all

ROWS = 3  # of example inputs: sizes 0 and 1 are special to torch.export
BANK = 1024  # latents that are saved where they are no standard normal noise


@dataclass(frozen=True)
class Program:
    """A function of named tensors `(n, ...)`, computed by `module`; `example` inputs have `ROWS` rows.

    `draws`: it draws random numbers by itself. `latents`: some of those to choose from, unless they are normal noise.
    """

    name: str
    module: nn.Module
    example: dict[str, Tensor]
    output: str
    num_classes: int | None = None
    draws: bool = False
    latents: Tensor | None = None

    def rows(self, n: int) -> dict[str, Tensor]:
        """Inputs of `n` rows, the example's again and again."""
        return {name: values[torch.arange(n) % ROWS] for name, values in self.example.items()}


class _Function(nn.Module):
    """A function of a model and tensors as a module."""

    def __init__(self, model: ImageGenerator, function: Callable[..., Tensor]):
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self.model, *inputs)


def programs(model: ImageGenerator, steps: int | None = None) -> list[Program]:
    """The programs of a model on the CPU in evaluation mode, the main one first; `steps`: frames to predict.

    Inputs are in the support of the likelihood (black and white for a Bernoulli one), as nothing is drawn for them.
    UserError for a model that is no such function.
    """
    found = list(_programs(model, steps))
    if not found:
        why = "samples value by value or draws its predictions, which is no function of noise"
        raise UserError(f"format: {type(model).__name__} {why}; format=safetensors keeps all of it")
    return found


def only_continues(model: Any) -> bool:
    """Whether a model predicts frames, the same ones each time, and samples no sequences of its own."""
    return len(model.image_shape) == 4 and isinstance(model, Predicts) and not model.draws_predictions


def context_frames(model: Any) -> int:
    """The number of frames that a model which only continues sequences is given."""
    return model.context_frames


def _programs(model: ImageGenerator, steps: int | None) -> Iterator[Program]:
    labels = {"label": torch.arange(ROWS) % model.num_classes} if model.num_classes else {}
    if isinstance(model, HasLatent) and model.generates:
        seed_all("export")
        yield _program("generator", model, _decode, {"latent": model.latent(ROWS)} | labels, "images")
        if isinstance(model, Encodes) and isinstance(model, HasLikelihood):
            yield _program("encoder", model, _encode, {"images": _images(model, model.image_shape)} | labels, "latent")
    elif isinstance(model, Classifies):
        images = {"images": _images(model, model.image_shape)}
        yield _program("classifier", model, _classify, images, "probabilities")
    elif only_continues(model):
        given, (frames, *frame_shape) = context_frames(model), model.image_shape
        steps = steps or frames - given

        def predict(model: Any, context: Tensor) -> Tensor:
            return model.predict(context, steps)

        context = {"context": _images(model, (given, *frame_shape))}
        yield _program("predictor", model, predict, context, "frames")


def _decode(model: Any, latent: Tensor, label: Tensor | None = None) -> Tensor:
    return model.decode(latent, label)


def _encode(model: Any, images: Tensor, label: Tensor | None = None) -> Tensor:
    return model.encode(images, label)


def _classify(model: Any, images: Tensor) -> Tensor:
    return model.classify(images)


def _images(model: ImageGenerator, shape: tuple[int, ...]) -> Tensor:
    """Black and white noise, which is in every likelihood's support."""
    seed_all("export")
    return torch.randint(2, (ROWS, *shape)) * 2.0 - 1


def _program(
    name: str, model: Any, function: Callable[..., Tensor], example: dict[str, Tensor], output: str
) -> Program:
    """The program of a copy of the model, without what it doesn't need."""
    latents = None
    if "latent" in example and not _is_standard_normal(model):
        seed_all("export", "bank")
        latents = model.latent(BANK)
    model = deepcopy(model)
    model.to_support = _unchanged
    module = _Function(model, function).eval()
    with _Recorded() as recorded:
        outputs = [_seeded(module, example, seed) for seed in range(2)]
    _remove_unused(model, recorded.seen)
    return Program(name, module, example, output, model.num_classes, not torch.equal(*outputs), latents)


def _unchanged(images: Tensor) -> Tensor:
    return images


def _seeded(module: nn.Module, inputs: dict[str, Tensor], seed: int) -> Tensor:
    seed_all("export", seed)
    return module(*inputs.values())


def _is_standard_normal(model: Any) -> bool:
    """Whether its latents are what torch.randn draws."""
    with preserved_rng():
        seed_all("export", "normal")
        latents = model.latent(ROWS)
        seed_all("export", "normal")
        return torch.equal(latents, torch.randn(latents.shape))


def _remove_unused(model: ImageGenerator, used: set[int]) -> None:
    """Remove the tensors of those parts of a model of which none is in `used`, such as a discriminator's."""
    for part in model.children():
        if not any(id(tensor) in used for tensor in (*part.parameters(), *part.buffers())):
            for module in part.modules():
                for name, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                    setattr(module, name, None)


class _Recorded(TorchFunctionMode):
    """Within it the ids of all tensors are kept that a function of torch has as an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.seen |= {id(leaf) for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        return func(*args, **(kwargs or {}))

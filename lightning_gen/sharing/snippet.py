"""`snippet.py` beside an exported model: the shortest way to use it, to run and to copy from."""

from lightning_gen.capabilities import Classifies
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.sharing.formats import SUFFIXES
from lightning_gen.sharing.program import Program, context_frames, only_continues
from lightning_gen.sharing.rendering import render

FILE = "snippet.py"
NEEDS = {"torch_export": "PyTorch alone", "onnx": "ONNX Runtime and NumPy alone"}
WHAT = {"generator": "noise to images", "predictor": "frames to the next ones", "classifier": "images to classes"}


def program_snippet(program: Program, format: str, title: str) -> str:
    """The snippet of a program's file: it needs PyTorch alone, or ONNX Runtime and NumPy."""
    name, example = next(iter(program.example.items()))
    return render(
        "program.py.jinja",
        title=title,
        what=WHAT[program.name],
        needs=NEEDS[format],
        format=format,
        file=f"{program.name}{SUFFIXES[format]}",
        input=name,
        shape=list(example.shape[1:]),
        num_classes=program.num_classes,
        bank=program.latents is not None,
    )


def safetensors_snippet(model: ImageGenerator, title: str) -> str:
    """The snippet of weights: it needs lightning-gen."""
    frames, *_ = shape = list(model.image_shape)
    given = context_frames(model) if only_continues(model) else 0
    return render(
        "safetensors.py.jinja",
        title=title,
        frames=len(shape) == 4,
        input="context" if given else "" if model.generates else "images",
        shape=[given, *shape[1:]] if given else shape,
        steps=frames - given,
        classifies=isinstance(model, Classifies),
    )

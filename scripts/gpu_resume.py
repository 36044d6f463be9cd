"""Whether a run goes on on another device, by the command line, for check_gpu.py."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from gpu_machines import Machine
from gpu_trials import distance

ROOT = Path(__file__).parents[1]
# Steps on the GPU draw other latents, so runs come apart. On a CPU, with another seed for the second leg: by 0.24
# of the way of the weights and 0.21 of that of Adam's second moments, or 0.66 if these are laid out for other strides.
APART = {"weights": 0.5, "moments": 0.4}
LEGS = (640, 704, 768)  # images seen at the end of each
RUN = [
    *("data=fake", "data.num_images=512", "data.batch_size=16", "model.ema_decay=0", "metrics=[]"),
    *("callbacks=[checkpoint]", "trainer.validate_every_images=100000", "trainer.steps_per_call=1"),
]


def resumes(machine: Machine, name: str) -> Mapping[str, float]:
    """How far runs of the CPU alone and of both devices are apart, of the way since they parted."""
    narrow = ["model.generator.width=8", "model.discriminator.width=8"] if machine.pretended else []
    on_gpu = [*machine.trainer, "trainer.precision=32-true", "trainer.tf32=false"]
    on_cpu = ["trainer=cpu", "trainer.accelerator=cpu", "trainer.strategy=auto"]  # after those of a pretended device
    with tempfile.TemporaryDirectory() as folder:

        def leg(run: str, number: int, trainer: Sequence[str]) -> dict[str, dict[str, torch.Tensor]]:
            how = ["resume=true"] if number else [f"model={name}", *RUN, *narrow]
            until = f"trainer.max_images={LEGS[number]}"
            command(machine.program, "train", f"run_dir={run}", *how, *trainer, until, cwd=Path(folder))
            return saved(Path(folder, run))

        start, _, expected = [leg("straight", number, on_cpu) for number in range(3)]
        _, _, found = [leg("both", number, trainer) for number, trainer in enumerate((on_cpu, on_gpu, on_cpu))]
    apart = {kind: distance(expected[kind], found[kind]) / distance(expected[kind], start[kind]) for kind in APART}
    wrong = [f"{kind} are {value:.2g} of their way apart" for kind, value in apart.items() if not value <= APART[kind]]
    assert not wrong, ", ".join(wrong)
    return apart


def saved(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Weights and roots of second moments in the last checkpoint."""
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    moments = {
        f"{number}.{key}": state["exp_avg_sq"].sqrt()
        for number, optimizer in enumerate(content["optimizer_states"])
        for key, state in optimizer["state"].items()
    }
    return {"weights": content["state_dict"], "moments": moments}


def command(program: Sequence[str], *arguments: str, cwd: Path) -> None:
    """Run `lightning-gen`; RuntimeError with its last line if it fails."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{' '.join(arguments[-2:])}: {lines[-1] if lines else done.returncode}")

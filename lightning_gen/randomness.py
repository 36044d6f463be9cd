"""Randomness as a function of the progress of a run.

Every training step seeds torch's generators from (seed, step), so a resumed run needs no stored generator state, and
sampling or validating in between cannot change what training draws. All ranks seed alike, and take their rows of what
is drawn (utilities/whole_batch.py).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def _hash(key: tuple[float | str, ...]) -> int:
    # Consecutive seeds give correlated streams in some generators, hashes do not.
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1


def seed_all(*key: float | str) -> None:
    """Seed torch's global generators of the CPU and of the current accelerator from `key`."""
    seed = _hash(key)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(seed)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator, seeded from `key`."""
    return torch.Generator(device).manual_seed(_hash(key))


def hashed_noise(first: Tensor, *others: Tensor | int) -> Tensor:
    """Uniform float32 in [0, 1) as a hash of broadcast int64 tensors, the same on every device and in any batch.

    Uses the mixing steps of MurmurHash3's finalizer, on the lowest 32 bits of each number.
    """
    mask = 0xFFFFFFFF
    bits = first * 0x9E3779B1 & mask
    for value in (*others, first):
        bits = (bits ^ value) & mask
        bits = (bits ^ bits >> 16) * 0x85EBCA6B & mask
        bits = (bits ^ bits >> 13) * 0xC2B2AE35 & mask
        bits = bits ^ bits >> 16
    return (bits >> 8).to(torch.float32) / 2**24


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Restore the state of the global generators on exit: for sampling and scoring between training steps."""
    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=cuda):
        yield

"""Randomness as a function of where a run stands.

Every training step seeds torch's generators from (seed, step, rank), so a resumed run needs no stored generator
state, and sampling or validating in between cannot change what training draws.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def _hash(key: tuple[float | str, ...]) -> int:
    # Neighboring seeds give correlated streams in some generators: a hash puts them far apart.
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1


def seed_all(*key: float | str) -> None:
    """Seed torch's global generators, those of the CPU and of the current accelerator, from `key`."""
    seed = _hash(key)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(seed)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own, seeded from `key`."""
    return torch.Generator(device).manual_seed(_hash(key))


def hashed_noise(*key: Tensor) -> Tensor:
    """Uniform float32 in [0, 1) as a hash of int64 tensors that broadcast, the same on every device and in any batch.

    By the mixing steps of MurmurHash3's finaliser; of each number the lowest 32 bits count.
    """
    mask = 0xFFFFFFFF
    bits = key[0] * 0x9E3779B1 & mask
    for value in (*key[1:], key[0]):
        bits = (bits ^ value) & mask
        bits = (bits ^ bits >> 16) * 0x85EBCA6B & mask
        bits = (bits ^ bits >> 13) * 0xC2B2AE35 & mask
        bits = bits ^ bits >> 16
    return (bits >> 8).to(torch.float32) / 2**24


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Put the global generators back as they were: for sampling and scoring in between training steps."""
    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=cuda):
        yield

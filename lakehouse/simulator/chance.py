"""Chance that is the same for the same seed and name."""

from __future__ import annotations

import zlib

import numpy as np


def chance(seed: int, name: str, number: int = 0) -> np.random.Generator:
    """Return a generator of random numbers of its own for *name* and *number*, say an issue and a date."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode()), number]))

"""Work values in kT that obey Crooks' theorem exactly, of known free energy."""

import itertools

import numpy as np


def gaussian_work(
    free_energy: float, dissipation: float, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Work in kT that obeys Crooks' theorem exactly: variance = 2 kT dissipation."""
    width = np.sqrt(2 * dissipation)
    forward = rng.normal(free_energy + dissipation, width, shape)
    backward = rng.normal(-free_energy + dissipation, width, shape)
    return forward, backward


def oscillator_work(
    ratio: float, steps: int, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Work in kT of stretching an overdamped spring k = 1 -> ratio -> 1, kT = 1.

    Each step changes lambda at fixed x, then moves x by the exact Ornstein-Uhlenbeck propagator,
    which leaves the Boltzmann distribution alone: Crooks' theorem holds at any number of steps.
    """
    couplings = np.linspace(0.0, 1.0, steps + 1)
    works = []
    for path in (couplings, couplings[::-1]):
        springs = 1.0 + (ratio - 1.0) * path
        x = rng.normal(size=shape) / np.sqrt(springs[0])
        work = np.zeros(shape)
        for before, after in itertools.pairwise(springs):
            work += 0.5 * (after - before) * x**2
            keep = np.exp(-0.05 * after)
            x = keep * x + np.sqrt((1 - keep**2) / after) * rng.normal(size=shape)
        works.append(work)
    return works[0], works[1]

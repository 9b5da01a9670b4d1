"""Hamiltonian replica exchange: which replica samples which window, and how well it wanders.

Replicas keep their positions, momenta, cell and random numbers; what two of them exchange is the
coupling. Replicas x and y, which hold the neighbouring windows i and j, exchange them with the
probability min(1, exp(-D)),

    D = [U_i(y) + U_j(x) - U_i(x) - U_j(y)] / kT

(Fukunishi, Watanabe and Takada, J. Chem. Phys. 116, 9058 (2002)). Masses, temperature and pressure
are the same in all windows, so kinetic energies and PV cancel. Even and odd pairs take turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray, IntArray


class ReplicaExchange:
    """The windows of the replicas, and the statistics of their exchanges.

    Args:
        n_windows: number of windows, and of replicas.
        temperature_eV: kT.
        rng: decides on exchanges.

    Attributes:
        window: (R,) window of each replica.
        attempts, accepted: (R - 1,) exchanges of windows i and i + 1.
        round_trips: (R,) times that a replica went from the first window to the last and back.
    """

    def __init__(self, n_windows: int, temperature_eV: float, rng: np.random.Generator) -> None:
        self.rng = rng
        self.temperature_eV = temperature_eV
        self.window: IntArray = np.arange(n_windows)
        self.attempts: IntArray = np.zeros(n_windows - 1, dtype=np.int64)
        self.accepted: IntArray = np.zeros(n_windows - 1, dtype=np.int64)
        self.round_trips: IntArray = np.zeros(n_windows, dtype=np.int64)
        # 1 on the way up from the first window, -1 on the way back from the last, 0 before either.
        self._way: IntArray = np.zeros(n_windows, dtype=np.int64)
        self._turn = 0
        self._note_ends()

    @property
    def replica(self) -> IntArray:
        """(R,) replica of each window."""
        return np.argsort(self.window)

    def pairs(self) -> list[tuple[int, int]]:
        """Return the replicas (x, y) of the neighbouring windows that are next to be exchanged."""
        replica = self.replica.tolist()
        return [(replica[i], replica[i + 1]) for i in range(self._turn, len(replica) - 1, 2)]

    def exchange(self, own: FloatArray, other: FloatArray) -> list[tuple[int, int]]:
        """Decide on the next pairs, and return those replicas that exchanged their windows.

        Args:
            own: (R,) energy of each replica at its own coupling, in eV.
            other: (R,) at its partner's; not a number where it has none.
        """
        done = []
        for x, y in self.pairs():
            lower = int(self.window[x])
            difference = (other[x] + other[y] - own[x] - own[y]) / self.temperature_eV
            self.attempts[lower] += 1
            # A number is drawn for every pair, so that the sequence does not depend on energies.
            if np.log1p(-self.rng.random()) < -difference:
                self.accepted[lower] += 1
                self.window[x], self.window[y] = lower + 1, lower
                done.append((x, y))
        self._turn = 1 - self._turn
        self._note_ends()
        return done

    def forget(self) -> None:
        """Begin the statistics anew; which replica is where stays."""
        for counts in (self.attempts, self.accepted, self.round_trips, self._way):
            counts[:] = 0
        self._note_ends()

    def _note_ends(self) -> None:
        first, last = self.window == 0, self.window == len(self.window) - 1
        self.round_trips[first & (self._way == -1)] += 1
        self._way[first] = 1
        self._way[last & (self._way == 1)] = -1

    def state(self) -> dict[str, Any]:
        """Return all that the next exchange depends on, and the statistics."""
        return {
            "window": self.window.copy(),
            "attempts": self.attempts.copy(),
            "accepted": self.accepted.copy(),
            "round_trips": self.round_trips.copy(),
            "way": self._way.copy(),
            "turn": self._turn,
            "rng": self.rng.bit_generator.state,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.window = np.array(state["window"])
        self.attempts = np.array(state["attempts"])
        self.accepted = np.array(state["accepted"])
        self.round_trips = np.array(state["round_trips"])
        self._way = np.array(state["way"])
        self._turn = int(state["turn"])
        self.rng.bit_generator.state = state["rng"]

"""Langevin dynamics at constant temperature, and pressure where asked for.

ASE's ``LangevinBAOAB`` (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013); barostat of
Quigley and Probert, J. Chem. Phys. 120, 11432 (2004)) with two corrections to its barostat, split
around the evaluation of the forces, and with a state that continues bit for bit. Stochastic
dynamics, because crystals are nearly harmonic, where deterministic thermostats are not ergodic;
BAOAB among them, because its positions are those of the canonical ensemble, exactly so for a
harmonic crystal, whatever the time step.

The coupling changes between the two halves of a step, together with the one evaluation, so the
accelerations that the integrator keeps always belong to the current coupling.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import units
from ase.constraints import FixCom
from ase.md.langevinbaoab import LangevinBAOAB
from pydantic import BaseModel, ConfigDict, Field

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


class UnstableError(InputError):
    """The dynamics blew up."""


class DynamicsSettings(BaseModel):
    """How atoms and cell move.

    Attributes:
        temperature_K: of the thermostat.
        timestep_fs: of the integrator.
        cell: ``fixed`` (NVT), ``volume`` (isotropic NPT) or ``full`` (all of the cell, NPT).
        pressure_GPa: of the barostat.
        thermostat_fs: inverse friction of the atoms.
        barostat_fs: period of the cell's motion (about four times that of its oscillation) and its
            inverse friction.
        fix_centre_of_mass: where the Hamiltonian is not translation invariant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature_K: float = Field(gt=0)
    timestep_fs: float = Field(default=2.0, gt=0)
    cell: Literal["fixed", "volume", "full"] = "fixed"
    pressure_GPa: float = 0.0
    thermostat_fs: float = Field(default=100.0, gt=0)
    barostat_fs: float = Field(default=1000.0, gt=0)
    fix_centre_of_mass: bool = False

    def describe_ensemble(self) -> dict[str, Any]:
        """Return ``ensemble`` (NVT or NPT) and ``pressure_GPa`` (None in NVT), for results."""
        if self.cell == "fixed":
            return {"ensemble": "NVT", "pressure_GPa": None}
        return {"ensemble": "NPT", "pressure_GPa": self.pressure_GPa}


class Integrator(LangevinBAOAB):  # type: ignore[misc]
    """ASE's BAOAB with its barostat corrected, two half steps and a state.

    In ASE (3.29) the drag that the barostat exerts on the velocities adds Tr(p)/N_f to every
    element of the strain-rate matrix; by Quigley and Probert, eq. 5b, it belongs on the diagonal.
    And the force on the cell is taken before the atoms' last half kick, which makes the step of
    first order, with a drift in what it should conserve; here it is taken after.

    Ensemble: without noise H = K + U + P V + Tr(p^T p) / 2W is conserved, and so is the measure
    d^3N(r) d^3N(p) dV with N_f = 3N (Martyna, Tobias and Klein, J. Chem. Phys. 101, 4177 (1994)).
    A volume has the weight V^N exp(-(U + P V) / kT) at scaled positions: the isothermal-isobaric
    ensemble. With the centre of mass fixed (in units of the cell) N_f = 3N - 3 and the weight has
    V^(N-1): as if the pressure were kT / V higher. A full cell h has the same weights with
    V dh / |det h|^3 for dV, dh / |det h|^3 being the measure that a strain leaves alone. Its
    momentum is symmetric, so a step does not rotate it, but strains one after another add up to
    a rotation of second order: compare cells by h h^T.

    Args:
        atoms: with a calculator; a fixed centre of mass is a constraint of theirs.
        settings: how they move.
        rng: the only source of random numbers.
    """

    def __init__(self, atoms: Atoms, settings: DynamicsSettings, rng: np.random.Generator) -> None:
        stress = None if settings.cell == "fixed" else -settings.pressure_GPa * units.GPa
        with warnings.catch_warnings():
            # ASE announces its heuristic barostat mass, and that constraints are untested; the
            # project's tests check both ensembles against theory.
            warnings.simplefilter("ignore")
            super().__init__(
                atoms,
                settings.timestep_fs * units.fs,
                temperature_K=settings.temperature_K,
                externalstress=stress,
                hydrostatic=settings.cell != "full",
                T_tau=settings.thermostat_fs * units.fs,
                P_tau=settings.barostat_fs * units.fs,
                rng=rng,
            )

    def propagate(self) -> None:
        """Move to the new positions and cell: the step up to the evaluation of the forces."""
        moving_cell = self.externalstress is not None
        if moving_cell:
            self._barostat_BAOAB_B()
        self._BAOAB_B()
        if moving_cell:
            self._barostat_BAOAB_A()
        self._BAOAB_A()
        if moving_cell:
            self.gamma_mod = self._barostat_BAOAB_OU_gamma_mod()
        self._BAOAB_OU(self.gamma_mod)
        if moving_cell:
            self._barostat_BAOAB_OU()
        self._BAOAB_A()
        if moving_cell:
            self._barostat_BAOAB_A()

    def complete(self) -> None:
        """Take the new forces and finish the velocities: the rest of the step."""
        self._update_accel()
        self._BAOAB_B()
        if self.externalstress is not None:
            # At the same momenta as the first half kick of the next step: the step is symmetric.
            self._update_force_eps()
            self._barostat_BAOAB_B()

    def take_forces(self) -> None:
        """Take new forces at the same positions, after a change of the Hamiltonian."""
        self._update_accel()
        if self.externalstress is not None:
            self._update_force_eps()

    def step(self) -> None:
        """Do a time step; the calculator is called in between."""
        self.propagate()
        self.complete()

    def _barostat_BAOAB_A(self) -> None:  # noqa: N802
        if self.hydrostatic:
            super()._barostat_BAOAB_A()
            return
        strain = _symmetric_exponential(0.5 * self.dt * self.p_eps / self.barostat_mass)
        self.atoms.set_cell(self.atoms.cell.array @ strain, scale_atoms=True)

    def _BAOAB_OU(self, drag_gamma_mod: Any = 0.0) -> None:  # noqa: N802
        if self.hydrostatic:
            super()._BAOAB_OU(drag_gamma_mod)
            return
        velocities = self.atoms.get_velocities()
        noise = self.rng.normal(size=velocities.shape) / np.sqrt(self.atoms.get_masses())[:, None]
        drag = _symmetric_exponential(-self.dt * (self.gamma * np.identity(3) + drag_gamma_mod))
        self.atoms.set_velocities(velocities @ drag + self.BAOAB_prefactor * noise)

    def _barostat_BAOAB_OU_gamma_mod(self) -> Any:  # noqa: N802
        if self.hydrostatic:
            return super()._barostat_BAOAB_OU_gamma_mod()
        trace = np.trace(self.p_eps) / self.Ndof
        return (self.p_eps + trace * np.identity(3)) / self.barostat_mass

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, random numbers included."""
        state: dict[str, Any] = {
            "positions": self.atoms.positions.copy(),
            "momenta": self.atoms.get_momenta(),
            "cell": self.atoms.cell.array.copy(),
            "accelerations": self.accel.copy(),
            "gamma_mod": np.array(self.gamma_mod, dtype=float),
            "rng": self.rng.bit_generator.state,
        }
        if self.externalstress is not None:
            state["cell_momentum"] = np.array(self.p_eps, dtype=float)
            state["cell_force"] = np.array(self.force_eps, dtype=float)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state` returned."""
        self.atoms.set_cell(state["cell"], scale_atoms=False)
        self.atoms.set_positions(state["positions"], apply_constraint=False)
        self.atoms.set_momenta(state["momenta"], apply_constraint=False)
        self.accel = np.array(state["accelerations"])
        self.gamma_mod = _plain(state["gamma_mod"])
        self.rng.bit_generator.state = state["rng"]
        if self.externalstress is not None:
            self.p_eps = _plain(state["cell_momentum"])
            self.force_eps = _plain(state["cell_force"])


def _symmetric_exponential(matrix: FloatArray) -> FloatArray:
    """Return exp of a symmetric matrix; a tenth of the time of scipy's, which is for any matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.exp(values)) @ vectors.T)


def _plain(values: Any) -> Any:
    array = np.array(values, dtype=float)
    return float(array) if array.ndim == 0 else array


def make_integrator(
    atoms: Atoms,
    settings: DynamicsSettings,
    rng: np.random.Generator,
    state: Mapping[str, Any] | None = None,
) -> Integrator:
    """Return an integrator of the atoms, with new velocities, or continuing from a state.

    Args:
        atoms: with a calculator; positions, momenta and cell are changed in place.
        settings: how they move.
        rng: draws the velocities and the thermostat's noise; a state sets it, too.
        state: what `Integrator.state` returned.

    Raises:
        InputError: if the cell is to move but the structure has no volume or the calculator no
            stress.
    """
    check_ensemble(atoms, settings)
    if settings.cell != "fixed" and "stress" not in atoms.calc.implemented_properties:
        raise InputError(
            "constant pressure needs a stress, which this calculator does not compute: keep "
            "the cell fixed"
        )
    if settings.fix_centre_of_mass:
        if len(atoms) < 2:
            raise InputError("one atom with its centre of mass fixed cannot move: take a supercell")
        atoms.set_constraint(FixCom())
    if state is None:
        spread = np.sqrt(atoms.get_masses() * units.kB * settings.temperature_K)
        atoms.set_momenta(spread[:, None] * rng.standard_normal((len(atoms), 3)))
        return Integrator(atoms, settings, rng)
    # What the integrator keeps of the forces is in the state; it is made at the same positions.
    atoms.set_cell(state["cell"], scale_atoms=False)
    atoms.set_positions(state["positions"], apply_constraint=False)
    integrator = Integrator(atoms, settings, rng)
    integrator.restore(state)
    return integrator


def check_ensemble(atoms: Atoms, settings: DynamicsSettings) -> None:
    """Refuse constant pressure where there is none, and atoms that are not to move.

    Raises:
        InputError: if the structure is not periodic in three directions, or has constraints other
            than that of its centre of mass.
    """
    held = [type(item).__name__ for item in atoms.constraints if not isinstance(item, FixCom)]
    if held:
        raise InputError(
            f"the structure has constraints ({held[0]}), but in dynamics all atoms move: give it "
            "without them"
        )
    if settings.cell != "fixed" and not atoms.pbc.all():
        raise InputError(
            "constant pressure needs a crystal, periodic in three directions: set pbc, or keep the "
            "cell fixed"
        )


def check_stability(atoms: Atoms, settings: DynamicsSettings) -> None:
    """Refuse a configuration that only a blow-up leads to.

    Raises:
        UnstableError: if the energy is not finite, or the kinetic energy is beyond what thermal
            fluctuations reach.
    """
    n_free = atoms.get_number_of_degrees_of_freedom()
    temperature = float(atoms.get_temperature())
    energy = float(atoms.get_potential_energy())
    # Thermal fluctuations of the kinetic temperature are sqrt(2 / N_f) of it; switching heats less.
    limit = settings.temperature_K * (4.0 + 12.0 * np.sqrt(2.0 / n_free))
    if np.isfinite(energy) and np.isfinite(temperature) and temperature < limit:
        return
    raise UnstableError(
        f"the dynamics blew up: kinetic temperature {temperature:.0f} K at "
        f"{settings.temperature_K:g} K, energy {energy:.6g} eV; use a shorter time step than "
        f"{settings.timestep_fs:g} fs, or relax the structure first"
    )

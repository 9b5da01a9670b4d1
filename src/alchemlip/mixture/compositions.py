"""The composition of a whole mixture: set from a flat array, or with what is absent left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY_NUMBER


def with_flat_composition(mixture: Mixture, composition: npt.ArrayLike) -> Mixture:
    """Return the mixture at a flat composition (K,), in the order of ``component_labels``.

    Raises:
        InputError: if the number of weights is wrong, or they do not lie on the simplex.
    """
    flat = np.asarray(composition, dtype=float)
    if flat.shape != mixture.composition.shape:
        raise InputError(
            f"the composition has {flat.size} weights, but the mixture has "
            f"{len(mixture.component_labels)} components: give one each of "
            f"{', '.join(mixture.component_labels)}"
        )
    return mixture.with_compositions(
        {group.name: flat[mixture.components_of(group.name)] for group in mixture.groups}
    )


def without_absent_species(mixture: Mixture) -> Mixture:
    """Return the mixture without the components of weight 0; wholly pure sites leave their group.

    Its energy, forces and stress are the same (the one-hot invariant) and cost less. Groups that
    can hold a vacancy stay as they are.
    """
    numbers = mixture.numbers.copy()
    groups = []
    for group in mixture.groups:
        present = group.composition > 0
        if (group.species == VACANCY_NUMBER).any() or group.correlation == "short-range":
            groups.append(group)
        elif present.sum() == 1:
            numbers[group.sites] = group.species[:, present][:, 0]
        else:
            labels = tuple(np.array(group.components)[present].tolist())
            groups.append(
                replace(
                    group,
                    components=labels,
                    species=group.species[:, present],
                    composition=group.composition[present],
                )
            )
    return replace(mixture, numbers=numbers, groups=tuple(groups))

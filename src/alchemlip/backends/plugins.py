"""Backends of other packages, found by their entry points.

    [project.entry-points."alchemlip.backends"]
    second-moment = "my_package.alchemlip_backend:SecondMomentBackend"

The name is what `load_potential` takes. Nothing is imported until it is asked for, so a package
that is broken harms no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

import torch

from alchemlip.backends import Backend
from alchemlip.backends.names import GROUP
from alchemlip.errors import InputError

NEEDED = ("card", "cutoff", "numbers", "forms", "dtype", "device", "node_energies")


class BackendFactory(Protocol):
    """What an entry point names: a function, or a class whose instances are backends.

    Attributes ``card`` (a `ModelCard`) and ``numbers`` (atomic numbers), where it has them, are
    what ``alchemlip models`` shows.
    """

    def __call__(
        self, name: str, device: torch.device, dtype: torch.dtype, variant: str | None
    ) -> Backend:
        """Return the backend.

        Args:
            name: of the entry point; one factory may serve several.
            device: where the weights go.
            dtype: of the weights.
            variant: what follows the name, as in ``second-moment@alloys``.
        """
        ...


def registered() -> dict[str, list[EntryPoint]]:
    """Return the entry points by name; more than one where packages claim the same name."""
    found: dict[str, list[EntryPoint]] = {}
    for item in entry_points(group=GROUP):
        same = found.setdefault(item.name.lower(), [])
        # A package that is found twice on the path is one package.
        if (item.value, package_of(item)) not in [(one.value, package_of(one)) for one in same]:
            same.append(item)
    return found


def package_of(item: EntryPoint) -> str:
    """Return name and version of the package that an entry point belongs to."""
    return "unknown" if item.dist is None else f"{item.dist.name} {item.dist.version}"


def load_factory(name: str, items: Sequence[EntryPoint], taken: Sequence[str]) -> BackendFactory:
    """Import what an entry point names.

    Args:
        name: of the potential.
        items: its entry points.
        taken: names of alchemlip's own potentials.

    Raises:
        InputError: naming the package, if its name is not its own or it cannot be imported.
    """
    packages = " and ".join(package_of(item) for item in items)
    if name in taken:
        raise InputError(
            f"the package {packages} registers the potential {name!r}, a name of alchemlip's own: "
            "ask its authors for another name"
        )
    if len(items) > 1:
        raise InputError(
            f"the potential {name!r} is registered by {packages}: uninstall all but one"
        )
    try:
        factory: BackendFactory = items[0].load()
    except (Exception, SystemExit) as error:  # whatever another package does when it is imported
        raise InputError(_broken(name, packages, error)) from error
    if not callable(factory):
        raise InputError(
            f"the package {packages} registers the potential {name!r} as {items[0].value!r}, which "
            "cannot be called: it must be a backend class or a function that returns a backend"
        )
    return factory


def make_registered(
    name: str,
    items: Sequence[EntryPoint],
    device: torch.device,
    dtype: torch.dtype,
    variant: str | None,
) -> Backend:
    """Return the backend of another package.

    Args:
        name: of the potential.
        items: its entry points.
        device: of the weights.
        dtype: of the weights.
        variant: fidelity, head or whatever the package calls it.

    Raises:
        InputError: naming the package and what is wrong with it.
    """
    factory = load_factory(name, items, ())
    package = package_of(items[0])
    try:
        backend = factory(name, device, dtype, variant)
    except InputError:
        raise
    except Exception as error:
        raise InputError(_broken(name, package, error)) from error
    lacking = [attribute for attribute in NEEDED if not hasattr(backend, attribute)]
    if lacking:
        raise InputError(
            f"the potential {name!r} of the package {package} is no backend (it has no "
            f"{', '.join(lacking)}): ask its authors to follow alchemlip.backends.Backend"
        )
    return backend


def _broken(name: str, package: str, error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return (
        f"the potential {name!r} of the package {package} cannot be loaded ({reason}): repair or "
        "uninstall that package"
    )

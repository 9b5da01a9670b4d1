"""What belongs to the process but is changed and put back by a run that shares it with others."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Surroundings:
    """One of these for each run, put in place with its turn.

    Attributes:
        stdout, stderr: streams.
        argv: the command line.
        filters: of warnings.
        showing: functions that show warnings, both that `warnings.catch_warnings` puts back.
        communicator: of ASE, over processes of MPI.
    """

    stdout: Any
    stderr: Any
    argv: list[str]
    filters: Any
    showing: tuple[Any, Any]
    communicator: Any

    @classmethod
    def now(cls) -> Surroundings:
        """Return what is in place."""
        from ase.parallel import world

        showing = warnings.showwarning, warnings._showwarnmsg_impl  # type: ignore[attr-defined]
        return cls(sys.stdout, sys.stderr, sys.argv, warnings.filters, showing, world.comm)

    def restore(self) -> None:
        """Put it in place."""
        from ase.parallel import world

        sys.stdout, sys.stderr, sys.argv = self.stdout, self.stderr, self.argv
        world.comm = self.communicator
        warnings.showwarning = self.showing[0]
        warnings._showwarnmsg_impl = self.showing[1]  # type: ignore[attr-defined]
        if warnings.filters is not self.filters:
            warnings.filters = self.filters
            warnings._filters_mutated()  # type: ignore[attr-defined]

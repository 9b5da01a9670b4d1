"""What the hooks of a forward pass need: every thread has its own.

Hooks are part of the model, which all evaluations share. What they read belongs to one evaluation,
so evaluations in several threads must not see one another's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class ForwardState(Generic[T]):
    """The inputs of the forward pass that a thread is at.

    Args:
        model: kind of the hooked model, for the error of a call from elsewhere.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._here = threading.local()

    @property
    def inputs(self) -> T:
        """Those of the pass under way in this thread.

        Raises:
            RuntimeError: if there is none.
        """
        found: T | None = getattr(self._here, "inputs", None)
        if found is None:
            raise RuntimeError(f"the hooked {self._model} model was called outside node_energies()")
        return found

    @contextmanager
    def of(self, inputs: T) -> Iterator[T]:
        """Let the hooks see these inputs within the block, in this thread."""
        before = getattr(self._here, "inputs", None)
        self._here.inputs = inputs
        try:
            yield inputs
        finally:
            self._here.inputs = before

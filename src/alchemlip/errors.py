"""The one exception that a person's input can cause, and what is told of a run that goes on."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: one sentence that names the fault, the place and the remedy.

    The command line prints the sentence and exits with code 2.
    """


class FolderInUseError(InputError):
    """Another process is at work in a results folder."""


class RunChangedWarning(UserWarning):
    """A recorded run goes on under other conditions than before: valid, but not bit for bit."""

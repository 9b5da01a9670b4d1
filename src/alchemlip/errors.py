"""The one exception that a person's input can cause, and sentences for the person who runs."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: one sentence that names the fault, the place and the remedy.

    The command line prints the sentence and exits with code 2.
    """


class FolderInUseError(InputError):
    """Another process is at work in a results folder."""


class Notice(UserWarning):
    """A sentence for the person who runs a calculation; the command line prints it as it is."""


class StructureWarning(Notice):
    """What is to be checked in a structure file."""


class RunChangedWarning(Notice):
    """A recorded run goes on under other conditions than before: valid, but not bit for bit."""

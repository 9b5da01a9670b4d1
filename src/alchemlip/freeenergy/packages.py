"""Loading of pymbar and alchemlyb when first used, without what they print."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from alchemlip.errors import InputError


def estimator_package(name: str) -> Any:
    """Import a module of pymbar, alchemlyb or what they build on.

    pymbar says on import that jax is missing; its speed does not matter here. Where jax is
    installed, pymbar's MBAR switches it to 64 bit for the whole process.

    Raises:
        InputError: if it is not installed.
    """
    with quiet("pymbar"):
        try:
            return import_module(name)
        except ImportError as error:
            raise InputError(
                f"free energy estimators need the package {name.split('.', maxsplit=1)[0]!r}: "
                "pip install 'alchemlip[freeenergy]'"
            ) from error


@contextmanager
def quiet(logger_name: str) -> Iterator[None]:
    """Let only errors of a package through to the log."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def quiet_loguru(package: str) -> Iterator[None]:
    """Keep a package's loguru messages off the screen for a while."""
    logger = estimator_package("loguru").logger
    logger.disable(package)
    try:
        yield
    finally:
        logger.enable(package)

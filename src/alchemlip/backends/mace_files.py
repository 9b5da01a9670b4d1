"""Names, files and licences of MACE models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alchemlip.backends import ModelCard, file_checksum
from alchemlip.backends.names import MACE, missing_package
from alchemlip.errors import InputError

REFERENCE = "Batatia et al., NeurIPS 2022, arXiv:2206.07697"
MODELS = ("MACE", "ScaleShiftMACE")


def installed() -> bool:
    """Whether the mace package can be imported."""
    return find_spec("mace") is not None


def card(name: str, file: Path | None, head: str | None = None) -> ModelCard:
    """Return the card of a released model, a local file, or a model object."""
    released = name in MACE
    return ModelCard(
        name=name,
        kind="MACE",
        weights="mace's own download, kept in its cache" if released else str(file or "an object"),
        licence=MACE[name][1] if released else "that of the file",
        sha256=file_checksum(file) if file is not None else "",
        reference=REFERENCE,
        variant=head or "",
    )


@contextmanager
def mace_imports() -> Iterator[None]:
    """Undo what importing mace does to the process.

    It sets ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``, with which every later ``torch.load`` of the
    process would unpickle anything.
    """
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def require_mace(name: str) -> None:
    """Refuse to go on without the mace package."""
    if not installed():
        raise InputError(missing_package(name, "mace-torch", "mace"))


def released_file(name: str) -> Path:
    """Return the file of a released model, through mace's own download and cache.

    Raises:
        InputError: if it is neither in the cache nor can be downloaded.
    """
    require_mace(name)
    key = MACE[name][0]
    with mace_imports(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        from mace.calculators import foundations_models as releases
        from mace.tools.utils import get_cache_dir

        try:
            if key.startswith("off:"):
                url = releases.mace_off_urls[key.removeprefix("off:")]
                file = Path(str(get_cache_dir())) / str(os.path.basename(url))
                if not file.is_file():
                    releases.mace_off(model=url, device="cpu", return_raw_model=True)
                return file
            url = releases.mace_mp_urls[key]
            return Path(str(releases.download_mace_mp_checkpoint(key)))
        except Exception as error:  # urllib, ssl and mace raise many kinds
            raise InputError(
                f"cannot download the potential {name!r} (no network?): fetch {url} elsewhere and "
                "give the path of the file with trust=True (--trust-file)"
            ) from error


def downloaded_file(name: str) -> Path | None:
    """Return the file of a released model if mace's cache holds it; nothing is downloaded."""
    require_mace(name)
    key = MACE[name][0]
    with mace_imports():
        from mace.calculators import foundations_models as releases
        from mace.tools.utils import get_cache_dir
    if key.startswith("off:"):
        kept = os.path.basename(releases.mace_off_urls[key.removeprefix("off:")])
    else:  # mace drops the other signs from these names
        address = os.path.basename(releases.mace_mp_urls[key])
        kept = "".join(sign for sign in address if sign.isalnum() or sign == "_")
    file = Path(str(get_cache_dir())) / str(kept.partition("?")[0])
    return file if file.is_file() else None


def load_model(file: Path, name: str) -> nn.Module:
    """Return the network in a model file.

    Raises:
        InputError: if the file is damaged, of another architecture, or made by an e3nn that this
            one cannot read.
    """
    require_mace(name)
    with mace_imports():
        import mace.modules  # noqa: F401  the classes that the pickle names

        try:
            model: Any = torch.load(file, map_location="cpu", weights_only=False)
        except (AttributeError, ImportError, TypeError) as error:
            raise InputError(
                f"the packages here cannot read {str(file)!r} ({error}): the file was made with "
                "another version of mace-torch or e3nn (mace-torch pins e3nn 0.4.4), so install "
                "that one, or save the model again"
            ) from error
        except Exception as error:  # zip, pickle and torch raise many kinds on a damaged file
            detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"cannot read {str(file)!r} as a MACE model ({detail[:160]}): the file is damaged "
                "or of another kind, so fetch it again"
            ) from error
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            f"{str(file)!r} is a compiled (TorchScript) model, which cannot be mixed: give the "
            ".model file that it was compiled from"
        )
    kind = type(model).__name__
    if kind not in MODELS:
        raise InputError(
            f"{str(file)!r} holds a {kind}, not a MACE energy model: give one of class "
            f"{' or '.join(MODELS)}"
        )
    return model  # type: ignore[no-any-return]

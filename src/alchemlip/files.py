"""Files read whole, and written whole or not at all.

Nothing is written through a symbolic link, and what is half written has a name that nobody guesses.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemlip.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEEPEST = 100
"""Levels of nesting in a record; ours have about ten."""

_PARTIAL = re.compile(r"\..*\.[0-9a-f]{16}\.partial(\.\w+)?|.*\.partial")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_partial(name: str) -> bool:
    """Whether a file of this name is what a killed process had half written."""
    return _PARTIAL.fullmatch(name) is not None


def read_bytes(file: Path, most: int | None = None) -> bytes:
    """Return the content of a file.

    Args:
        file: a regular file; a link to one counts.
        most: refuse more bytes than this.

    Raises:
        InputError: if it is a folder, a pipe, on which a reader would wait for ever, or anything
            else that is no file, or too long.
        OSError: as `open` does.
    """
    number = os.open(file, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise InputError(no_file(file, mode))
    with os.fdopen(number, "rb") as stream:
        content = stream.read() if most is None else stream.read(most + 1)
    if most is not None and len(content) > most:
        raise InputError(
            f"{str(file)!r} has more than {most / 2**20:g} MiB, which nobody writes by hand: "
            "name the right file"
        )
    return content


def no_file(file: Path, mode: int) -> str:
    """Return the sentence for what stands where a file should."""
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    return f"{str(file)!r} is {kind}, not a file: move it away, or name another place"


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: if it is damaged, or nested deeper than any record.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    level = [found] if isinstance(found, dict | list) else []
    for _ in range(DEEPEST):
        if not level:
            return found
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, dict | list)
        ]
    raise ValueError("it is nested too deep")


def read_json_object(file: Path, remedy: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        file: to be read.
        remedy: what to do if it is damaged.

    Raises:
        InputError: if it is damaged, or no file.
        OSError: as `open` does.
    """
    try:
        found = parse_json(read_bytes(file))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{str(file)!r} is damaged: {remedy}") from error
    return found


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a file to be written, of the same ending, that takes the place of another at the end.

    A crash leaves the old content or the new, never a part. Where there is a symbolic link, the
    link is replaced, and what it points to stays as it was.

    Args:
        file: what is to be there afterwards.
    """
    name = f".{file.stem[:40]}.{secrets.token_hex(8)}.partial{file.suffix[:20]}"
    partial = file.with_name(name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(partial, flags, 0o666))
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, file)
    except BaseException:
        # Room for others on a disk that is full.
        with suppress(OSError):
            partial.unlink()
        raise


def write_atomically(file: Path, content: bytes) -> None:
    """Replace a file at once: a crash leaves the old content or the new, never a part."""
    with replacing(file) as partial:
        partial.write_bytes(content)


def save_figure(figure: Figure, file: str | Path, dpi: int) -> None:
    """Write a Matplotlib figure; the ending of the file chooses the format."""
    with replacing(Path(file)) as partial:
        figure.savefig(partial, dpi=dpi)


def remove_partial(folder: Path) -> None:
    """Remove what killed processes had half written; with the folder's lock held."""
    for item in folder.iterdir():
        if is_partial(item.name) and not item.is_dir():
            item.unlink()


def open_to_append(file: Path) -> int:
    """Return a descriptor that adds to the end of a file, made if it does not exist.

    Raises:
        InputError: if it is a symbolic link, whose end may lie anywhere, or no file.
        OSError: as `open` does.
    """
    return _opened(file, os.O_APPEND)


def open_anew(file: Path) -> int:
    """Return a descriptor that writes a file from its beginning; raises as `open_to_append`."""
    return _opened(file, os.O_TRUNC)


def _opened(file: Path, how: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | how
    try:
        number = os.open(file, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and file.is_symlink():
            raise InputError(
                f"{str(file)!r} is a symbolic link, through which nothing is written: move it away"
            ) from error
        if error.errno in (errno.ENXIO, errno.EISDIR):  # a pipe that nobody reads, a folder
            raise InputError(no_file(file, file.stat().st_mode)) from error
        raise
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise InputError(no_file(file, mode))
    return number

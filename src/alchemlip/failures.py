"""What the machine or its files refuse, in one sentence for a person."""

from __future__ import annotations

import errno

AGAIN = "run the same command again, which goes on from what is finished"
TOO_MANY = f"too many files are open: raise their number (ulimit -n), and {AGAIN}"
TOO_LITTLE_MEMORY = (
    "there is too little memory: take a smaller cell, --dtype float32, or on a GPU also "
    "--device cpu, and run the same command again"
)
FULL = f"cannot write{{file}} ({{reason}}): free space, and {AGAIN}"
CLOSED = "cannot use{file} ({reason}): correct its permissions, or name another folder (--out)"
WRONG_KIND = "cannot use{file} ({reason}): name another one, or move away what stands there"
SENTENCES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "cannot write{file} ({reason}): raise the limit on the size of files (ulimit -f), "
    f"and {AGAIN}",
    errno.EACCES: CLOSED,
    errno.EPERM: CLOSED,
    errno.EROFS: CLOSED,
    errno.EMFILE: TOO_MANY,
    errno.ENFILE: TOO_MANY,
    errno.ENOMEM: TOO_LITTLE_MEMORY,
    errno.ENAMETOOLONG: "the name{file} is too long for the file system: choose a shorter one",
    errno.ELOOP: "cannot use{file} ({reason}): correct the symbolic links, which lead in a circle",
    errno.ENOTDIR: WRONG_KIND,
    errno.EISDIR: WRONG_KIND,
    errno.EIO: f"the disk does not take or give{{file}} ({{reason}}): look at it, and {AGAIN}",
    errno.ESTALE: f"the disk does not take or give{{file}} ({{reason}}): look at it, and {AGAIN}",
}
LONGEST_SHOWN = 60


def sentence_of(error: BaseException) -> str | None:
    """Return a sentence on a full disk, a closed folder, too little memory and the like.

    Returns:
        None if the error is none that a person can mend so.
    """
    if is_out_of_memory(error):
        return TOO_LITTLE_MEMORY
    if isinstance(error, ImportError) and "Too many open files" in str(error):
        return TOO_MANY
    if not isinstance(error, OSError) or error.errno not in SENTENCES:
        return None
    return SENTENCES[error.errno].format(file=_file(error), reason=error.strerror)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ended, of the machine (torch raises a plain RuntimeError) or of a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("DefaultCPUAllocator", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def _file(error: OSError) -> str:
    if error.filename is None:
        return " a file"
    name = str(error.filename)
    return f" {name if len(name) <= LONGEST_SHOWN else name[:LONGEST_SHOWN] + '...'!r}"

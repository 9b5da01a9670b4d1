"""Keeping NumPy's and SciPy's BLAS threads from spinning against torch's."""

from __future__ import annotations

from threadpoolctl import threadpool_limits


def quiet_blas_threads(threads: int | None = 1) -> None:
    """Limit the BLAS threads of NumPy and SciPy in this process; None does nothing.

    OpenBLAS workers spin for a while after every small product (an optimiser makes several per
    step) and take the cores from torch, which has thread pools of its own and is not affected.
    """
    if threads is not None:
        # Without its context manager the limit stays; the unused original limits are dropped.
        threadpool_limits(limits=threads, user_api="blas")

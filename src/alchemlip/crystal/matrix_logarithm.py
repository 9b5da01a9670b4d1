"""The logarithm of a deformation gradient, without random numbers.

SciPy's `logm` estimates norms with NumPy's global generator and warns of errors of 1e-13.
"""

from __future__ import annotations

import numpy as np

from alchemlip.arrays import FloatArray

TERMS = 12
NEAR = 0.25
"""Matrices closer to 1 than this need no square root: the series then ends below 1e-20."""


def matrix_logarithm(matrix: FloatArray) -> FloatArray:
    """Return the principal logarithm of a real matrix (n, n) without negative eigenvalues.

    By inverse scaling and squaring (Higham, Functions of Matrices, SIAM 2008, ch. 11):
    log A = 2^k log A^(1/2^k), and log B = 2 artanh[(B - 1) (B + 1)^-1] near 1.
    """
    one = np.eye(len(matrix))
    squarings = 0
    while np.linalg.norm(matrix - one, 2) > NEAR:
        matrix = _square_root(matrix)
        squarings += 1
    z = np.linalg.solve((matrix + one).T, (matrix - one).T).T
    square = z @ z
    power, total = z, np.zeros_like(z)
    for order in range(TERMS):
        total = total + power / (2 * order + 1)
        power = power @ square
    return np.asarray(2.0 ** (squarings + 1) * total)


def _square_root(matrix: FloatArray) -> FloatArray:
    """Return the principal square root by the iteration of Denman and Beavers."""
    root, inverse = matrix, np.eye(len(matrix))
    for _ in range(50):
        before = root
        root, inverse = (
            0.5 * (root + np.linalg.inv(inverse)),
            0.5 * (inverse + np.linalg.inv(root)),
        )
        if np.linalg.norm(root - before) <= 1e-15 * np.linalg.norm(root):
            break
    return root

"""Small systems of linear equations, one for every pixel.

``numpy.linalg`` would call LAPACK once a pixel, and OpenBLAS takes a lock at every call. Six threads that finish
pictures at once then wait for each other: twelve jobs took forty seconds instead of three.
"""

from collections.abc import Mapping, Sequence

from restyle.pictures.images import Floats


def solve(matrix: Mapping[tuple[int, int], Floats], right: Sequence[Floats]) -> list[Floats]:
    """Solve A·x = ``right`` for a symmetric positive 3×3 ``matrix``, given by its lower half, through A = L·D·Lᵀ.

    Every entry is an array with one element for each system; the shapes broadcast.
    """
    d0 = matrix[0, 0]
    l10, l20 = matrix[1, 0] / d0, matrix[2, 0] / d0
    d1 = matrix[1, 1] - l10 * matrix[1, 0]
    rest = matrix[2, 1] - l20 * matrix[1, 0]
    l21 = rest / d1
    d2 = matrix[2, 2] - l20 * matrix[2, 0] - l21 * rest
    y0 = right[0]
    y1 = right[1] - l10 * y0
    y2 = right[2] - l20 * y0 - l21 * y1
    x2 = y2 / d2
    x1 = y1 / d1 - l21 * x2
    return [y0 / d0 - l10 * x1 - l20 * x2, x1, x2]

# SPDX-License-Identifier: Apache-2.0
"""What a few lines of NumPy give: matrix products by its BLAS, then argpartition."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "NumPy"
    packages = ("threadpoolctl",)
    distribution = "numpy"
    module = "threadpoolctl"
    parameters = "brute force: norms - 2 x base @ query, argpartition"
    exact = True
    keeps_rows = False

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import numpy as np

        self.base = base
        self.norms = np.einsum("ij,ij->i", base, base)

    def load(self, directory: Path, base: Path) -> None:
        import numpy as np

        self.build(np.load(base), directory, 1)

    def set_threads(self, threads: int) -> bool:
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads)
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        import numpy as np

        far = self.norms - 2 * (self.base @ query)
        near = np.argpartition(far, k)[:k]
        return near[np.argsort(far[near])]

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        import numpy as np

        result = np.empty((len(queries), k), np.int64)
        for first in range(0, len(queries), 100):
            far = self.norms - 2 * (queries[first : first + 100] @ self.base.T)
            near = np.argpartition(far, k, axis=1)[:, :k]
            order = np.argsort(np.take_along_axis(far, near, 1), axis=1)
            result[first : first + 100] = np.take_along_axis(near, order, 1)
        return result

# SPDX-License-Identifier: Apache-2.0
"""What a few lines of NumPy give: the matching rows taken out, a product, argpartition."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines import numpy_exact
from filter_engines import Filtered, Terms

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, numpy_exact.Adapter):
    parameters = "brute force over base[ids]"
    given = "the matching rows' numbers, ready"
    carries = False

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        return ids

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        import numpy as np

        # Where most match, all products are sooner done than the rows copied.
        many = 4 * len(given) > self.rows
        far = (self.norms - 2 * (self.base @ query))[given] if many else (
            self.norms[given] - 2 * (self.base[given] @ query)
        )  # fmt: skip
        if len(given) > k:
            near = np.argpartition(far, k)[:k]
            return given[near[np.argsort(far[near])]]
        return given[np.argsort(far)]

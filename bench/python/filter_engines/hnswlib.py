# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines import hnswlib
from filter_engines import EF, Filtered, Terms

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, hnswlib.Adapter):
    efforts = EF
    given = (
        "filter=bytes.__getitem__ over a mark a row, ready: a call from C++ into Python for each node; k is the number "
        "of matches where that is less, and an answer that it refuses to give counts as empty"
    )
    carries = False

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        import numpy as np

        marks = np.zeros(self.rows, np.uint8)
        marks[ids] = 1
        return marks.tobytes().__getitem__, min(k, len(ids))

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        try:
            return self.index.knn_query(query, given[1], num_threads=1, filter=given[0])[0][0]
        except RuntimeError:  # fewer found than asked for
            return ()

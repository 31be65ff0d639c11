# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines import faiss_hnsw
from filter_engines import EF, faiss_flat

if TYPE_CHECKING:
    import numpy as np


class Adapter(faiss_flat.Adapter, faiss_hnsw.Adapter):
    efforts = EF
    given = "IDSelectorBitmap of the matching rows, ready"

    def selector(self, ids: np.ndarray) -> Any:
        import numpy as np

        marks = np.zeros(self.rows, bool)
        marks[ids] = True
        bits = np.packbits(marks, bitorder="little")
        return self.faiss.IDSelectorBitmap(bits), bits

    def parameters_of(self, selector: Any) -> Any:
        return self.faiss.SearchParametersHNSW(sel=selector)

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        given[0].efSearch = self.effort
        return super().search_filtered(query, k, given)

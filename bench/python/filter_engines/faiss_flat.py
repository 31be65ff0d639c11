# SPDX-License-Identifier: Apache-2.0
"""faiss.IndexFlat with a selector, and what the other indexes of faiss have in common with it."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines import faiss_flat
from filter_engines import Filtered, Terms

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, faiss_flat.Adapter):
    given = "IDSelectorArray of the matching rows' numbers, ready"
    carries = False
    effort: Any = None

    def selector(self, ids: np.ndarray) -> Any:
        """With what must live as long as it does."""
        return self.faiss.IDSelectorArray(ids), ids

    def parameters_of(self, selector: Any) -> Any:
        return self.faiss.SearchParameters(sel=selector)

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        selector, kept = self.selector(ids)
        return self.parameters_of(selector), selector, kept

    def set_effort(self, effort: Any) -> None:
        self.effort = effort

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        return self.index.search(query.reshape(1, -1), k, params=given[0])[1][0]

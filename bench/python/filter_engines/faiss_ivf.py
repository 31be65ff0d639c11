# SPDX-License-Identifier: Apache-2.0
"""Inverted lists of whole rows; those of product codes (IVF-PQFS) take no selector."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from engines import power_of_two
from filter_engines import faiss_hnsw

if TYPE_CHECKING:
    import numpy as np


class Adapter(faiss_hnsw.Adapter):
    name = "faiss IVF-Flat"
    efforts = (1, 4, 16, 64, 256, 4096)

    def __init__(self, metric: str, rows: int, dim: int) -> None:
        super().__init__(metric, rows, dim)
        self.lists = power_of_two(4 * math.sqrt(rows))
        self.parameters = f"{self.factory()}; effort is nprobe"

    def factory(self) -> str:
        return f"IVF{self.lists},Flat"

    def prepare(self) -> None:
        """No graph to set up."""

    def parameters_of(self, selector: Any) -> Any:
        return self.faiss.SearchParametersIVF(sel=selector)

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        given[0].nprobe = min(self.effort, self.lists)
        return self.index.search(query.reshape(1, -1), k, params=given[0])[1][0]

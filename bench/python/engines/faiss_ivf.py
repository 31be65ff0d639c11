# SPDX-License-Identifier: Apache-2.0
"""Its wiki's advice for speed: inverted lists, 4-bit product codes in registers, and the rows to refine."""
from __future__ import annotations

import math

from engines import faiss_flat, power_of_two


class Adapter(faiss_flat.Adapter):
    name = "faiss IVF-PQFS"
    exact = False
    efforts = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)

    def __init__(self, metric: str, rows: int, dim: int) -> None:
        super().__init__(metric, rows, dim)
        self.lists = power_of_two(4 * math.sqrt(rows))
        self.parameters = f"{self.factory()}, k_factor 10; effort is nprobe"

    def factory(self) -> str:
        return f"IVF{self.lists},PQ{self.dim // 2}x4fs,RFlat"

    def set_effort(self, effort: int) -> None:
        self.index.k_factor = 10
        self.faiss.extract_index_ivf(self.index).nprobe = effort

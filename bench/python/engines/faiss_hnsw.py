# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from engines import EF, faiss_flat


class Adapter(faiss_flat.Adapter):
    name = "faiss HNSW"
    exact = False
    parameters = "HNSW16, efConstruction 200"
    efforts = EF

    def factory(self) -> str:
        return "HNSW16"

    def prepare(self) -> None:
        self.index.hnsw.efConstruction = 200

    def set_effort(self, effort: int) -> None:
        self.index.hnsw.efSearch = effort

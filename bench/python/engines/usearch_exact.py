# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import usearch

if TYPE_CHECKING:
    import numpy as np


class Adapter(usearch.Adapter):
    name = "usearch exact"
    parameters = "search(base, queries, exact=True)"
    efforts = ("exact",)
    exact = True
    keeps_rows = False

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        from usearch.index import MetricKind, search

        self.base, self.call, self.threads = base, search, threads
        self.kind = MetricKind.L2sq if self.metric == "l2" else MetricKind.Cos

    def save(self, directory: Path) -> None:
        pass

    def load(self, directory: Path, base: Path) -> None:
        import numpy as np

        self.build(np.load(base), directory, 1)

    def set_effort(self, effort: Any) -> None:
        pass

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.call(self.base, query, k, self.kind, exact=True, threads=self.threads).keys

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.call(self.base, queries, k, self.kind, exact=True, threads=self.threads).keys

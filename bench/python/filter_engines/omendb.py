# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import omendb
from filter_engines import EF, Filtered, Terms, mongo, records

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, omendb.Adapter):
    efforts = EF
    given = "search(filter={...})"

    def build_with(self, base: np.ndarray, columns: dict[str, np.ndarray], directory: Path, threads: int) -> None:
        import omendb as o

        self.db = o.create(str(directory / "db"), {"dense": {"dim": self.dim}, "metric": self.metric})
        rows = records(columns)
        for first in range(0, len(base), omendb.BATCH):
            part = base[first : first + omendb.BATCH]
            names = list(map(str, range(first, first + len(part))))
            self.db.set(ids=names, vectors=part, metadatas=rows[first : first + len(part)])
        self.db.optimize()
        self.db.flush()

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        return mongo(terms)

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        return [int(hit["id"]) for hit in self.db.search(query, k, filter=given, ef=self.effort)]

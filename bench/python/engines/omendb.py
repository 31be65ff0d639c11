# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np

BATCH = 10_000


class Adapter(Engine):
    name = "OmenDB"
    packages = ("omendb",)
    distribution = "omendb"
    module = "omendb"
    parameters = "its defaults (m 16, ef_construction 100), optimize()"
    efforts = EF

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import omendb

        self.db = omendb.create(str(directory / "db"), {"dense": {"dim": self.dim}, "metric": self.metric})
        for first in range(0, len(base), BATCH):
            part = base[first : first + BATCH]
            self.db.set(ids=list(map(str, range(first, first + len(part)))), vectors=part)
        self.db.optimize()
        self.db.flush()

    def load(self, directory: Path, base: Path) -> None:
        import omendb

        self.db = omendb.open(str(directory / "db"))

    def set_effort(self, effort: int) -> None:
        self.effort = effort

    def set_threads(self, threads: int) -> bool:
        return True  # its threads follow the processors that they may use

    def search(self, query: np.ndarray, k: int) -> Any:
        return [int(hit["id"]) for hit in self.db.search(query, k, ef=self.effort)]

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return [[int(hit["id"]) for hit in hits] for hits in self.db.search_batch(queries, k, ef=self.effort)]

    def close(self) -> None:
        self.db.close()

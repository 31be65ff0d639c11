# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import Engine
from peers import sqlite_vec

if TYPE_CHECKING:
    import numpy as np

BATCH = 10_000


class Adapter(Engine):
    name = "sqlite-vec"
    packages = sqlite_vec.Adapter.packages
    distribution = sqlite_vec.Adapter.distribution
    module = "sqlite_vec"
    parameters = "vec0, exact only; batches of 10,000 rows"

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        self.db = sqlite_vec.connect(directory / "rows.db")
        metric = "" if self.metric == "l2" else " distance_metric=cosine"
        self.db.execute(f"create virtual table rows using vec0(embedding float[{self.dim}]{metric})")
        for first in range(0, len(base), BATCH):
            part = base[first : first + BATCH]
            with self.db:
                pairs = zip(range(first, first + len(part)), part)
                self.db.executemany("insert into rows(rowid, embedding) values (?, ?)", pairs)

    def load(self, directory: Path, base: Path) -> None:
        self.db = sqlite_vec.connect(directory / "rows.db")

    def search(self, query: np.ndarray, k: int) -> Any:
        asked = "select rowid from rows where embedding match ? and k = ? order by distance"
        return [row[0] for row in self.db.execute(asked, (query, k))]

    def close(self) -> None:
        self.db.close()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import Engine

if TYPE_CHECKING:
    import numpy as np

BATCH = 10_000


class Adapter(Engine):
    name = "sqlite-vec"
    # Pythons whose own sqlite3 cannot load extensions need the second one.
    packages = ("sqlite-vec", "pysqlite3-binary")
    distribution = "sqlite-vec"
    module = "sqlite_vec"
    parameters = "vec0, exact only; batches of 10,000 rows"

    def connect(self, directory: Path) -> None:
        import sqlite3

        import sqlite_vec

        self.db = sqlite3.connect(directory / "rows.db")
        if not hasattr(self.db, "enable_load_extension"):
            import pysqlite3.dbapi2

            self.db = pysqlite3.dbapi2.connect(str(directory / "rows.db"))
        self.db.enable_load_extension(True)
        sqlite_vec.load(self.db)

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        self.connect(directory)
        metric = "" if self.metric == "l2" else " distance_metric=cosine"
        self.db.execute(f"create virtual table rows using vec0(embedding float[{self.dim}]{metric})")
        for first in range(0, len(base), BATCH):
            part = base[first : first + BATCH]
            with self.db:
                pairs = zip(range(first, first + len(part)), part)
                self.db.executemany("insert into rows(rowid, embedding) values (?, ?)", pairs)

    def load(self, directory: Path, base: Path) -> None:
        self.connect(directory)

    def search(self, query: np.ndarray, k: int) -> Any:
        asked = "select rowid from rows where embedding match ? and k = ? order by distance"
        return [row[0] for row in self.db.execute(asked, (query, k))]

    def close(self) -> None:
        self.db.close()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import sqlite_vec
from filter_engines import Filtered, Terms, sql
from peers.sqlite_vec import connect

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, sqlite_vec.Adapter):
    parameters = "vec0, exact only; four metadata columns; batches of 10,000 rows"
    given = "conditions on metadata columns in the where clause"

    def build_with(self, base: np.ndarray, columns: dict[str, np.ndarray], directory: Path, threads: int) -> None:
        self.db = connect(directory / "rows.db")
        metric = "" if self.metric == "l2" else " distance_metric=cosine"
        kinds = ", ".join(f"{name} {'text' if name == 'category' else 'integer'}" for name in columns)
        self.db.execute(f"create virtual table rows using vec0(embedding float[{self.dim}]{metric}, {kinds})")
        into = f"insert into rows(rowid, embedding, {', '.join(columns)}) values (?, ?, ?, ?, ?, ?)"
        for first in range(0, len(base), sqlite_vec.BATCH):
            part = slice(first, first + sqlite_vec.BATCH)
            values = [column[part].tolist() for column in columns.values()]
            with self.db:
                self.db.executemany(into, zip(range(first, first + len(base[part])), base[part], *values))

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        return f"select rowid from rows where embedding match ? and k = ? and {sql(terms)} order by distance"

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        return [row[0] for row in self.db.execute(given, (query, k))]

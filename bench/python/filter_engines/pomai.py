# SPDX-License-Identifier: Apache-2.0
"""PomaiDB itself, from this tree: metadata are documents, durably acknowledged with their rows."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import pomai
from filter_engines import Filtered, Terms, mongo, records

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, pomai.Adapter):
    given = "a dict a query: search(filters={...})"

    def build_with(self, base: np.ndarray, columns: dict[str, np.ndarray], directory: Path, threads: int) -> None:
        import numpy as np

        self.open(directory, threads)
        rows = records(columns)
        for first in range(0, len(base), pomai.BATCH):
            part = base[first : first + pomai.BATCH]
            ids = np.arange(first, first + len(part))
            self.collection.add(vectors=part, ids=ids, metadata=rows[first : first + len(part)])
        self.db.compact()
        self.collection.build_indexes()

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        return mongo(terms)

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        return self.collection.search(query, k, filters=given, **self.options).ids

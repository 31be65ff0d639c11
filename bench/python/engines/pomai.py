# SPDX-License-Identifier: Apache-2.0
"""PomaiDB itself, from this tree: durable acknowledgements, then what it makes of them by itself."""
from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import OURS, Engine

if TYPE_CHECKING:
    import numpy as np

BATCH = 10_000
RECALLS = (0.90, 0.95, 0.99)


class Adapter(Engine):
    name = "PomaiDB"
    distribution = OURS
    module = "pomai"
    parameters = f"defaults; batches of {BATCH:,} acknowledged at level sync, then compact() and build_indexes()"

    def open(self, directory: Path, threads: int) -> None:
        import pomai

        self.directory = directory
        self.db = pomai.open(directory / "db", search_threads=threads - 1)
        self.collection = self.db.collection("rows", dim=self.dim, metric=self.metric)

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import numpy as np

        self.open(directory, threads)
        for first in range(0, len(base), BATCH):
            part = base[first : first + BATCH]
            self.collection.add(vectors=part, ids=np.arange(first, first + len(part)))
        self.stored_at = time.perf_counter()
        self.db.compact()
        self.collection.build_indexes()

    def load(self, directory: Path, base: Path) -> None:
        import numpy as np

        self.open(directory, 1)
        query = np.load(base, mmap_mode="r")[0].astype(np.float32)

        def exactly(recall: float) -> bool:
            return bool(self.collection.search(query, 10, recall=recall).verdict.completeness == "exact")

        # A wish for recall that is answered exactly is no other effort.
        self.efforts = (*(recall for recall in RECALLS if not exactly(recall)), "exact")

    def set_effort(self, effort: Any) -> None:
        self.options: dict[str, Any] = {"exact": True} if effort == "exact" else {"recall": effort}

    def set_threads(self, threads: int) -> bool:
        self.db.close()
        self.open(self.directory, threads)
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.collection.search(query, k, **self.options).ids

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.collection.search(queries, k, **self.options).ids

    def close(self) -> None:
        self.db.close()

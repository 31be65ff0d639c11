# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import Engine, power_of_two

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "rabitqlib IVF"
    packages = ("rabitqlib",)
    distribution = "rabitqlib"
    module = "rabitqlib"
    efforts = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)

    def __init__(self, metric: str, rows: int, dim: int) -> None:
        super().__init__(metric, rows, dim)
        self.lists = power_of_two(4 * math.sqrt(rows))
        self.parameters = f"{self.lists} clusters by QGKMeans, nbits 7; effort is nprobe"

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import rabitqlib as r

        means = r.QGKMeans(self.dim, self.lists, num_threads=threads, final_assignment=r.FinalAssignmentMode.Exact)
        means.train(base)
        metric = "l2" if self.metric == "l2" else "ip"
        self.index = r.IvfIndex(self.dim, self.rows, self.lists, 7, metric)
        self.index.build(base, means.centroids, means.assignments, num_threads=threads)

    def save(self, directory: Path) -> None:
        self.index.save(str(directory / "index"))

    def load(self, directory: Path, base: Path) -> None:
        import rabitqlib

        self.index = rabitqlib.IvfIndex.load(str(directory / "index"))
        self.threads = 1

    def set_effort(self, effort: int) -> None:
        self.effort = effort

    def set_threads(self, threads: int) -> bool:
        self.threads = threads
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.index.search(query.reshape(1, -1), k, self.effort)[0][0]

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.search(queries, k, self.effort, num_threads=self.threads)[0]

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from engines import power_of_two, rabitq_symqg

if TYPE_CHECKING:
    import numpy as np


class Adapter(rabitq_symqg.Adapter):
    name = "rabitqlib IVF"
    efforts = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    index_class = "IvfIndex"

    def __init__(self, metric: str, rows: int, dim: int) -> None:
        super().__init__(metric, rows, dim)
        self.lists = power_of_two(4 * math.sqrt(rows))
        self.parameters = f"{self.lists} clusters by QGKMeans, nbits 7; effort is nprobe"

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import rabitqlib as r

        means = r.QGKMeans(self.dim, self.lists, num_threads=threads, final_assignment=r.FinalAssignmentMode.Exact)
        means.train(base)
        self.index = r.IvfIndex(self.dim, self.rows, self.lists, 7, self.kind())
        self.index.build(base, means.centroids, means.assignments, num_threads=threads)

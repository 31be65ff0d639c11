# SPDX-License-Identifier: Apache-2.0
"""Intel's SVS: a Vamana graph over vectors compressed by LVQ, 4 bits and 8 for the rest."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "SVS LVQ4x8"
    packages = ("scalable-vs",)
    distribution = "scalable-vs"
    module = "svs"
    parameters = "Vamana, graph_max_degree 64, window_size 200, alpha 1.2; L2 also where the metric is cosine"
    efforts = EF

    def compressed(self, source: Any) -> Any:
        return self.svs.LVQLoader(source, primary=4, residual=8)

    def stored(self, directory: Path) -> Any:
        return self.svs.LVQLoader(str(directory / "data"))

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import svs

        self.svs = svs
        file = directory / "rows.fvecs"  # it compresses from a file
        svs.write_vecs(base, str(file))
        source = svs.VectorDataLoader(str(file), svs.DataType.float32, dims=self.dim)
        settings = svs.VamanaBuildParameters(alpha=1.2, graph_max_degree=64, window_size=200)
        loader = self.compressed(source)
        self.index = svs.Vamana.build(settings, loader, svs.DistanceType.L2, num_threads=threads)
        file.unlink()

    def save(self, directory: Path) -> None:
        self.index.save(*(str(directory / part) for part in ("config", "graph", "data")))

    def load(self, directory: Path, base: Path) -> None:
        import svs

        self.svs = svs
        graph = svs.GraphLoader(str(directory / "graph"))
        self.index = svs.Vamana(
            str(directory / "config"), graph, self.stored(directory), svs.DistanceType.L2, num_threads=1
        )

    def set_effort(self, effort: int) -> None:
        self.index.search_window_size = effort

    def set_threads(self, threads: int) -> bool:
        self.index.num_threads = threads
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.index.search(query, k)[0][0]

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.search(queries, k)[0]

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "VSAG HGraph"
    packages = ("pyvsag",)
    distribution = "pyvsag"
    module = "pyvsag"
    parameters = "max_degree 32, ef_construction 400, sq8_uniform, reordered in fp32"
    efforts = EF

    def make(self, threads: int) -> Any:
        import pyvsag

        pyvsag.set_logger_off()
        settings = {
            "dtype": "float32", "metric_type": self.metric, "dim": self.dim,
            "index_param": {
                "base_quantization_type": "sq8_uniform", "max_degree": 32, "ef_construction": 400,
                "use_reorder": True, "precise_quantization_type": "fp32", "build_thread_count": threads,
            },
        }  # fmt: skip
        return pyvsag.Index("hgraph", json.dumps(settings))

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import numpy as np

        self.index = self.make(threads)
        self.index.build(base.reshape(-1), np.arange(len(base), dtype=np.int64), len(base), self.dim)

    def save(self, directory: Path) -> None:
        self.index.save(str(directory / "index"))

    def load(self, directory: Path, base: Path) -> None:
        self.index = self.make(1)
        self.index.load(str(directory / "index"))

    def set_effort(self, effort: int) -> None:
        self.effort = json.dumps({"hgraph": {"ef_search": effort}})

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.index.knn_search(query, k, self.effort)[0]

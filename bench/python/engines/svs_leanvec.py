# SPDX-License-Identifier: Apache-2.0
"""The same over LeanVec: a quarter of the dimensions for the graph, all of them to refine."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from engines import svs


class Adapter(svs.Adapter):
    name = "SVS LeanVec"

    def __init__(self, metric: str, rows: int, dim: int) -> None:
        super().__init__(metric, rows, dim)
        self.lean = -(-dim // 64) * 32 if dim < 256 else -(-dim // 128) * 32  # half of them where they are few
        self.parameters = f"LeanVec4x8 to {self.lean} dimensions, else as SVS LVQ4x8"

    def compressed(self, source: Any) -> Any:
        kind = self.svs.LeanVecKind
        return self.svs.LeanVecLoader(source, leanvec_dims=self.lean, primary_kind=kind.lvq4, secondary_kind=kind.lvq8)

    def stored(self, directory: Path) -> Any:
        return self.svs.LeanVecLoader(str(directory / "data"))

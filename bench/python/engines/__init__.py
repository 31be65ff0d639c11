# SPDX-License-Identifier: Apache-2.0
"""What the comparison of searches asks of each engine; one file here for each.

A file NAME.py has the class `Adapter`, imports its engine only in build() and load(), and so can be asked about
anywhere. Rows are numbered from 0; rows of cosine data have length 1. Parameters of the index are the engine's
documented ones or those usual in ann-benchmarks, and the same for all data but for what its documentation computes
from the number of rows or dimensions; `efforts` is a fixed list, least first.
"""
from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np

OURS = "pomai"
NAMES = (
    OURS, "numpy_exact", "faiss_flat", "faiss_hnsw", "faiss_ivf", "hnswlib", "usearch", "usearch_exact", "svs",
    "svs_leanvec", "pyglass", "pyglass_sq4", "glassppy", "rabitq_symqg", "rabitq_ivf", "ngt", "vsag", "zvec",
    "lancedb", "chromadb", "sqlite_vec", "omendb", "qdrant_edge",
)  # fmt: skip
EXACT = (OURS, "faiss_flat", "usearch_exact", "numpy_exact")
QUICK = (OURS, "hnswlib", "rabitq_symqg", "pyglass")  # ours, hnswlib, and the fastest others on the first two data
EF: tuple[int, ...] = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


class Engine:
    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()  # what pip installs
    distribution: ClassVar[str] = ""  # whose version is shown
    module: ClassVar[str] = ""  # what is imported before memory is counted
    parameters: str  # how the index is built, in its own words
    efforts: tuple[Any, ...] = ("exact",)
    exact: ClassVar[bool] = False
    stored_at: float | None = None  # when build() had stored the last row, by time.perf_counter(); None: no such moment
    keeps_rows: ClassVar[bool] = True  # whether what save() writes is enough to search; else the raw rows are needed

    def __init__(self, metric: str, rows: int, dim: int) -> None:
        """metric: l2 or cosine."""
        self.metric, self.rows, self.dim = metric, rows, dim

    def version(self) -> str:
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:  # used from where it was built
            return str(importlib.import_module(self.module).__version__)

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        """Makes an index that can be searched; a store that has files makes them in directory, durably."""
        raise NotImplementedError

    def save(self, directory: Path) -> None:
        """Writes what load() needs, where build() did not."""

    def load(self, directory: Path, base: Path) -> None:
        """Brings the index back, in a process of its own. base: the file of the raw rows."""
        raise NotImplementedError

    def set_effort(self, effort: Any) -> None:
        """Before searches with it."""

    def set_threads(self, threads: int) -> bool:
        """For a batch, and for a search where the engine spreads one; False: not while it runs."""
        return threads == 1

    def search(self, query: np.ndarray, k: int) -> Any:
        """Row numbers of the nearest, best first; query: (dim,) float32."""
        raise NotImplementedError

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        """The same for (n, dim). NotImplementedError: its interface has no batches."""
        raise NotImplementedError

    def close(self) -> None:
        """Leaves the files in order."""


def kind(name: str) -> type[Engine]:
    adapter: type[Engine] = importlib.import_module(f"engines.{name}").Adapter
    assert issubclass(adapter, Engine)
    return adapter


def power_of_two(value: float) -> int:
    """The nearest, in ratio."""
    power = 1
    while power * 1.4142 < value:
        power *= 2
    return power

# SPDX-License-Identifier: Apache-2.0
"""What the comparison of filtered searches asks of each engine; one file here for each, as in engines.

An adapter is that of engines where there is one, with filters. A store that keeps metadata is given all columns of
filter_data.py; an index that has none is given the rows that match in whatever form it takes fastest, worked out
beforehand, outside the measured time.
"""
from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engines import Engine

if TYPE_CHECKING:
    import numpy as np

OURS = "pomai"
NAMES = (
    OURS, "numpy_exact", "faiss_flat", "faiss_ivf", "faiss_hnsw", "hnswlib", "qdrant_edge", "zvec", "lancedb",
    "chromadb", "omendb", "sqlite_vec",
)  # fmt: skip
QUICK = (OURS, "numpy_exact", "faiss_hnsw", "hnswlib", "qdrant_edge", "zvec")
# Of the engines of bench_compare.py, those whose Python interface takes no filter.
CANNOT = {
    "usearch 2.26.6": "search() takes no filter in Python; filtered_search() is for C++ only",
    "SVS 0.5.0": "search() takes queries and a number of neighbours only",
    "pyglass-portable 2.1.0": "Searcher.search() takes no filter",
    "rabitqlib 0.7.1": "search() takes no filter in any of its indexes",
    "VSAG 0.18.5": "knn_search() takes no filter in Python",
    "NGT 2.8.0.post1": "ngtpy's search() takes no filter",
}
EF: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
Terms = list[list[Any]]


class Filtered(Engine):
    given: ClassVar[str]  # in what form it gets its filter
    carries: ClassVar[bool] = True  # whether metadata is in its index, which is then another than without filters

    def build_with(self, base: np.ndarray, columns: dict[str, np.ndarray], directory: Path, threads: int) -> None:
        """build() with metadata: columns has the values of each row by name, as filter_data.py says."""
        self.build(base, directory, threads)

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        """A filter as search_filtered() takes it, outside the measured time. ids: the rows that match, ascending."""
        raise NotImplementedError

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        """Numbers of the nearest rows that match, best first."""
        raise NotImplementedError


def kind(name: str) -> type[Filtered]:
    adapter: type[Filtered] = importlib.import_module(f"filter_engines.{name}").Adapter
    assert issubclass(adapter, Filtered)
    return adapter


def matching(columns: dict[str, np.ndarray], terms: Terms) -> np.ndarray:
    """The numbers of the rows that match, ascending."""
    import numpy as np

    good = np.ones(len(columns["number"]), bool)
    for column, operator, *operands in terms:
        values = columns[column]
        if operator == "range":
            good &= (values >= operands[0]) & (values < operands[1])
        elif operator == "eq":
            good &= values == operands[0]
        else:
            good &= np.isin(values, operands[0])
    return np.flatnonzero(good)


def records(columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A dict a row."""
    return [dict(zip(columns, values)) for values in zip(*(column.tolist() for column in columns.values()))]


def mongo(terms: Terms) -> dict[str, Any]:
    """In MongoDB's language."""
    wanted: dict[str, Any] = {}
    for column, operator, *operands in terms:
        if operator == "range":
            wanted[column] = {"$gte": operands[0], "$lt": operands[1]}
        else:
            wanted[column] = operands[0] if operator == "eq" else {"$in": operands[0]}
    return wanted


def sql(terms: Terms) -> str:
    """As the condition of a where clause."""

    def literal(value: Any) -> str:
        return f"'{value}'" if isinstance(value, str) else str(value)

    parts = []
    for column, operator, *operands in terms:
        if operator == "range":
            parts.append(f"{column} >= {operands[0]} and {column} < {operands[1]}")
        elif operator == "eq":
            parts.append(f"{column} = {literal(operands[0])}")
        else:
            parts.append(f"{column} in ({', '.join(map(literal, operands[0]))})")
    return " and ".join(parts)

# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of peers asks of each engine; one file here for each.

A file NAME.py has the class `Adapter`, imports its engine only in open(), and so can be asked about anywhere.
"""
from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np

OURS = "pomai"
FLOOR = "plain"
NAMES = (
    FLOOR, OURS, "chromadb", "lancedb", "zvec", "qdrant_edge", "milvus_lite", "sqlite_vec", "omendb",
)  # fmt: skip


@dataclass(frozen=True)
class Durability:
    """What is left of rows after the call that added them has returned."""

    kill: str  # the process is killed
    power: str  # the machine loses power
    known: str  # where this is from


class Peer:
    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()  # what pip installs
    distribution: ClassVar[str] = ""  # whose version is shown
    handed: ClassVar[str]  # how a batch goes from NumPy to the engine
    index: ClassVar[str]  # what its default does about an index while rows come in
    durability: ClassVar[Durability]
    flush_call: ClassVar[str] = ""  # its documented call that brings rows to disk, where adding does not
    flushed: ClassVar[Durability | None] = None  # what holds after that call
    max_batch: int | None = None  # the largest batch that it takes; may be known only after open()

    def version(self) -> str:
        return importlib.metadata.version(self.distribution)

    def open(self, path: Path, dim: int) -> None:
        """Makes the collection below path, an existing directory, or opens the one that is there."""
        raise NotImplementedError

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Adds new rows: ids (n,) int64, vectors (n, dim) float32, contiguous."""
        raise NotImplementedError

    def flush(self) -> None:
        raise NotImplementedError

    def count(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def load(name: str) -> Peer:
    peer = importlib.import_module(f"peers.{name}").Adapter()
    assert isinstance(peer, Peer)
    return peer

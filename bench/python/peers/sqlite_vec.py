# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


def connect(file: Path) -> Any:
    """SQLite with the extension, by whichever of the two packages can load it."""
    import sqlite3

    import sqlite_vec

    db: Any = sqlite3.connect(file)
    if not hasattr(db, "enable_load_extension"):
        import pysqlite3.dbapi2

        db = pysqlite3.dbapi2.connect(str(file))
    db.enable_load_extension(True)
    sqlite_vec.load(db)
    return db


class Adapter(Peer):
    name = "sqlite-vec"
    # Pythons whose own sqlite3 cannot load extensions need the second one.
    packages = ("sqlite-vec", "pysqlite3-binary")
    distribution = "sqlite-vec"
    handed = "executemany over the array's rows, one transaction a batch"
    index = "none; it has exact search only"
    durability = Durability(
        "all", "all", "SQLite's documentation: a rollback journal with synchronous=FULL, the default; seen: syncs"
    )

    def open(self, path: Path, dim: int) -> None:
        self.db = connect(path / "rows.db")
        self.db.execute(f"create virtual table if not exists docs using vec0(embedding float[{dim}])")

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        with self.db:
            self.db.executemany("insert into docs(rowid, embedding) values (?, ?)", zip(ids.tolist(), vectors))

    def count(self) -> int:
        return int(self.db.execute("select count(*) from docs").fetchone()[0])

    def close(self) -> None:
        self.db.close()

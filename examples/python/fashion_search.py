#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recognise clothes: Fashion-MNIST, 60,000 pictures of 28 x 28 pixels, by their nearest neighbours.

    apt-get install dataset-fashion-mnist        # the data: /usr/share/datasets/fashion-mnist
    python examples/python/fashion_search.py

The pictures are the vectors, as they are: 784 numbers each. What lies nearest says what a new picture shows.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

import pomai

Bytes = npt.NDArray[np.uint8]

CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SHADES = " .:-=+*#%@"


def read(path: Path) -> Bytes:
    """An array of bytes in the IDX format: a magic number, the sizes, the bytes."""
    data = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


def draw(pictures: list[Bytes]) -> None:
    """Side by side, every second pixel of every second line."""
    for line in range(0, 28, 2):
        text = "   ".join("".join(SHADES[int(p) // 26] for p in picture[line]) for picture in pictures)
        if text.strip():
            print("   ", text.rstrip())


def show(db: pomai.Database, pictures: Bytes, image: Bytes, label: int) -> None:
    result = db.search(image.ravel(), k=2, include=["metadata"])
    draw([image, *(pictures[hit.id] for hit in result)])
    captions = [f"this {CLASSES[label]} is like", *(f"{hit.metadata['label']} {hit.id}" for hit in result)]
    print("   ", "   ".join(f"{caption:28}" for caption in captions).rstrip(), "\n")


def classify(db: pomai.Database, labels: Bytes, images: Bytes, truth: Bytes, k: int = 5) -> None:
    begun = time.perf_counter()
    results = db.search(images.reshape(len(images), -1), k=k)
    seconds = time.perf_counter() - begun
    votes = labels[results.ids]
    said = np.array([Counter(row.tolist()).most_common(1)[0][0] for row in votes])
    print(f"{len(images)} searches in one call: {seconds:.2f} s, {1000 * seconds / len(images):.2f} ms each")
    print(f"Recognised by the vote of the {k} nearest:")
    for number, name in enumerate(CLASSES):
        of = truth == number
        if not of.any():
            continue
        wrong = Counter(said[of & (said != number)].tolist()).most_common(1)
        mistaken = f"   else mostly {CLASSES[wrong[0][0]]}" if wrong else ""
        print(f"  {name:12}{np.mean(said[of] == number):6.1%}{mistaken}")
    print(f"  {'all':12}{np.mean(said == truth):6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Recognise clothes by their nearest neighbours.")
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"), help="the four files")
    parser.add_argument("--db", type=Path, help="the database to make, and keep; without, a temporary one")
    parser.add_argument("--queries", type=int, default=1000, help="pictures to recognise, at most 10,000")
    options = parser.parse_args()
    if not (options.data / "train-images-idx3-ubyte.gz").is_file():
        raise SystemExit(
            f"{options.data} has no Fashion-MNIST: install it (Debian: apt-get install dataset-fashion-mnist)"
        )
    pictures = read(options.data / "train-images-idx3-ubyte.gz")
    labels = read(options.data / "train-labels-idx1-ubyte.gz")
    images = read(options.data / "t10k-images-idx3-ubyte.gz")[: options.queries]
    truth = read(options.data / "t10k-labels-idx1-ubyte.gz")[: options.queries]

    with tempfile.TemporaryDirectory() as directory:
        path = options.db or Path(directory) / "fashion.db"
        begun = time.perf_counter()
        with pomai.open(path) as db:
            # Bytes become float32 once, on the way in. 188 MB are more than a batch has: they are split.
            db.add(
                pictures.reshape(len(pictures), -1),
                ids=range(len(pictures)),
                metadata={"label": [CLASSES[label] for label in labels]},
            )
            print(f"{len(db)} pictures stored, and safe from power loss: {time.perf_counter() - begun:.1f} s\n")
            for number in (0, 4):
                show(db, pictures, images[number], int(truth[number]))
            classify(db, labels, images, truth)

            with db.snapshot() as before:  # one moment, whatever is done meanwhile
                bags = np.flatnonzero(labels == CLASSES.index("bag"))
                print(f"\n{db.delete(bags)} bags deleted: {len(db)} pictures now;", end=" ")
                bag = pictures[bags[0]].ravel()
                now, then = (db.search(bag, k=1, snapshot=at, include=["metadata"])[0] for at in (None, before))
                is_now, was = now.metadata["label"], then.metadata["label"]
                print(f"nearest to a bag is a {is_now}, in the snapshot still a {was}")


if __name__ == "__main__":
    main()

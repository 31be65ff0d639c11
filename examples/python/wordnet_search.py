#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Search the 117,659 meanings of WordNet by the meaning of a phrase.

    apt-get install wordnet-base                 # the data: /usr/share/wordnet
    python examples/python/wordnet_search.py
    python examples/python/wordnet_search.py "a place where bread is baked"

The vectors are made here, from WordNet alone, with NumPy: each word gets a random direction, then learns from the
words that it is explained with (random indexing, two rounds). A real program would ask a language model; what comes
after that is the same.
"""

from __future__ import annotations

import argparse
import functools
import re
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import pomai

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FILES = {"noun": "data.noun", "verb": "data.verb", "adjective": "data.adj", "adverb": "data.adv"}
ABOVE = ("@", "@i", "&")
STOP = frozenset(
    "a an the of or and to in that is with by for as on from at be it its into are used having especially usually "
    "one something someone you who which not has was his her their he she they this some any etc when where".split()
)
QUERIES = (
    "a vehicle with two wheels moved by pedals",
    "instrument with strings played with a bow",
    "feeling of great happiness",
    "extremely cold weather",
    "large body of salt water",
    "baked dough with cheese and tomato",
)


class Meaning(NamedTuple):
    words: list[str]
    kind: str
    gloss: str
    examples: list[str]
    above: list[tuple[str, str]]  # what it is a kind of, as in `at`
    at: tuple[str, str]  # part of speech and offset


def read(directory: Path) -> list[Meaning]:
    meanings = []
    for kind, name in FILES.items():
        for line in (directory / name).read_text("latin-1").splitlines():
            if line.startswith(" "):
                continue  # the licence
            data, _, text = line.partition(" | ")
            fields = data.split(" ")
            count = int(fields[3], 16)
            words = [re.sub(r"\(\w+\)$", "", w).replace("_", " ") for w in fields[4 : 4 + 2 * count : 2]]
            links = [*fields[5 + 2 * count :], fields[4 + 2 * count]]  # four fields each; how many
            above = [(links[i + 2], links[i + 1]) for i in range(0, 4 * int(links[-1]), 4) if links[i] in ABOVE]
            gloss, *examples = text.strip().split('; "')
            at = (fields[2].replace("s", "a"), fields[0])
            meanings.append(Meaning(words, kind, gloss, [e.strip('"; ') for e in examples], above, at))
    return meanings


@functools.cache
def stem(word: str) -> str | None:
    """The word without most endings; None if it says nothing."""
    if word in STOP or len(word) < 2:
        return None
    for ending in ("ies", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + ("y" if ending == "ies" else "")
            break
    return word.rstrip("e") if len(word) > 3 else word


def tokens(text: str) -> list[str]:
    return [word for word in map(stem, re.findall("[a-z]+", text.lower())) if word]


def unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = np.divide(vectors, np.maximum(lengths, 1e-9), dtype=np.float32)
    return scaled


def sums(vectors: Floats, groups: Ints, size: int) -> Floats:
    """Row g is the sum of those vectors that are in group g. groups: pairs of group and vector, sorted."""
    group, which = groups
    total = np.zeros((size, vectors.shape[1]), np.float32)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    lengths = np.diff(starts, append=len(group))
    for length in np.unique(lengths):  # groups of one length at a time
        some = starts[lengths == length]
        total[group[some]] = vectors[which[some[:, None] + np.arange(length)]].sum(axis=1)
    return total


class Embedding:
    """Makes vectors of unit length from texts; learnt from `texts`, whose own are in `vectors`."""

    def __init__(self, texts: Sequence[str], dim: int) -> None:
        split = [tokens(text) for text in texts]
        seen = Counter(word for words in split for word in dict.fromkeys(words))
        self.index = {word: i for i, word in enumerate(seen)}
        rarity = np.array([np.log(len(texts) / count) for count in seen.values()], np.float32)[:, None]
        text = np.repeat(np.arange(len(split)), [len(words) for words in split])
        word = np.array([self.index[word] for words in split for word in words])
        by_text = np.stack([text, word])
        by_word = np.stack([word, text])[:, np.argsort(word, kind="stable")]

        random = unit(np.random.default_rng(1).standard_normal((len(seen), dim), dtype=np.float32))
        self.words = random * rarity
        for _ in range(2):  # a word is what the texts with it say, and itself
            learnt = sums(unit(sums(self.words, by_text, len(texts))), by_word, len(seen))
            learnt -= learnt.mean(axis=0)
            self.words = unit(np.float32(0.6) * random + unit(learnt)) * rarity
        self.vectors = unit(sums(self.words, by_text, len(texts)))

    def __call__(self, text: str) -> Floats:
        known = [self.index[word] for word in tokens(text) if word in self.index]
        if not known:
            raise SystemExit(f"WordNet has none of the words of {text!r}")
        return unit(self.words[known].sum(axis=0))


def show(query: str, result: pomai.Result) -> None:
    print(f"\n{query}")
    for hit in result:
        about = hit.metadata
        words = ", ".join(about["words"][:3])
        print(f"  {1 - hit.distance:.2f}  {words} ({about['kind']}): {textwrap.shorten(about['gloss'], 90)}")


def related(a: Meaning, b: Meaning) -> bool:
    """Whether WordNet has one above the other, or the same above both."""
    return a.at in b.above or b.at in a.above or not set(a.above).isdisjoint(b.above)


def quality(meanings: Sequence[Meaning], vectors: Floats, rows: pomai.Collection, queries: int) -> None:
    """How often WordNet's own links, which the vectors know nothing of, agree that a neighbour is one."""
    random = np.random.default_rng(2)
    linked = [i for i, meaning in enumerate(meanings) if meaning.above]
    chosen = random.choice(linked, queries, replace=False)
    begun = time.perf_counter()
    results = rows.search(vectors[chosen], k=11)
    seconds = time.perf_counter() - begun
    print(f"\n{queries} searches in one call: {seconds:.2f} s, {1000 * seconds / queries:.2f} ms each")
    neighbours = [[i for i in result.ids.tolist() if i != own] for own, result in zip(chosen.tolist(), results)]
    print("Of the nearest, so many are related in WordNet:")
    for k in (1, 5, 10):
        pairs = [(meanings[own], meanings[i]) for own, near in zip(chosen, neighbours) for i in near[:k]]
        share = np.mean([related(a, b) for a, b in pairs])
        print(f"  first {k:2d}    {share:6.1%}")
    others = random.choice(linked, queries)
    print(f"  by chance  {np.mean([related(meanings[a], meanings[b]) for a, b in zip(chosen, others)]):6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Search WordNet by the meaning of a phrase.")
    parser.add_argument("phrases", nargs="*", default=QUERIES, help="what to look for")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="where data.noun is")
    parser.add_argument("--db", type=Path, help="the database to make, and keep; without, a temporary one")
    parser.add_argument("--dim", type=int, default=128, help="numbers a vector")
    parser.add_argument("--queries", type=int, default=1000, help="searches to measure quality with")
    options = parser.parse_args()
    if not (options.wordnet / "data.noun").is_file():
        raise SystemExit(f"{options.wordnet} has no data.noun: install WordNet (Debian: apt-get install wordnet-base)")

    begun = time.perf_counter()
    meanings = read(options.wordnet)
    embed = Embedding([" ".join([*m.words, m.gloss, *m.examples]) for m in meanings], options.dim)
    print(f"{len(meanings)} meanings made vectors of {options.dim} numbers: {time.perf_counter() - begun:.1f} s")

    with tempfile.TemporaryDirectory() as directory:
        path = options.db or Path(directory) / "wordnet.db"
        with pomai.open(path) as db:
            rows = db.collection("meanings", options.dim, metric="cosine")
            begun = time.perf_counter()
            rows.add(
                embed.vectors,
                ids=range(len(meanings)),
                metadata={
                    "words": [m.words for m in meanings],
                    "kind": [m.kind for m in meanings],
                    "gloss": [m.gloss for m in meanings],
                },
            )
            print(f"stored, and safe from power loss: {time.perf_counter() - begun:.1f} s")
        with pomai.open(path, existing=True) as db:  # as another program would, another day
            rows = db.collection("meanings")
            for phrase in options.phrases:
                show(phrase, rows.search(embed(phrase), k=4, include=["metadata"]))
            quality(meanings, embed.vectors, rows, options.queries)


if __name__ == "__main__":
    main()

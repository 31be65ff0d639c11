#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The program `pomai`: every verb, and every bad input that its import formats can bring.

usage: test_cli.py PROGRAM [--seed S] [--only WORD] [--completion FILE]

Each function case_* is one case, run in a directory of its own. A refusal must exit with 1 or 2, say `pomai: ...` on
stderr with what is named in the case, and leave every row count as it was.
"""
import argparse
import gzip
import json
import math
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

PROGRAM = ""
COMPLETION = ""
SANITIZED = False
RANDOM = random.Random()


class Failure(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failure(what)


class Outcome:
    def __init__(self, process, words):
        self.code = process.returncode
        self.out = process.stdout.decode("utf-8", "replace")
        self.err = process.stderr.decode("utf-8", "replace")
        self.words = words

    def json(self):
        return [json.loads(line) for line in self.out.split("\n") if line]

    def __str__(self):
        return f"{' '.join(map(str, self.words))[:300]}: exit {self.code}\n  out: {self.out[:600]}\n  err: {self.err[:900]}"


def pomai(*words, code=0, stdin=None, limit_mb=None):
    """Runs the program; it must exit with `code`. Failures must say why, successes nothing that is no note."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (limit_mb * 1_000_000, limit_mb * 1_000_000))
    process = subprocess.run([PROGRAM, *map(str, words)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             timeout=120, preexec_fn=limit if limit_mb and not SANITIZED else None)
    outcome = Outcome(process, words)
    expect(outcome.code == code, f"wanted exit {code}: {outcome}")
    if code in (1, 2) and "get" not in words[:1]:
        expect("pomai: " in outcome.err, f"no sentence on stderr: {outcome}")
    if code == 0:
        expect("pomai: " not in outcome.err, f"complaint on success: {outcome}")
    expect("\x1b" not in outcome.out + outcome.err, f"escape sequence without a terminal: {outcome}")
    return outcome


def refused(*words, says=(), code=1, **more):
    outcome = pomai(*words, code=code, **more)
    for word in [says] if isinstance(says, str) else says:
        expect(word in outcome.err, f"stderr lacks {word!r}: {outcome}")
    return outcome


def counts(db):
    if not os.path.exists(db):
        return {}
    return {c["collection"]: c["rows"] for c in pomai("collections", db, "--json").json()}


def vectors(rows, dim):
    return [[struct.unpack("<f", struct.pack("<f", RANDOM.uniform(-1, 1)))[0] for _ in range(dim)] for _ in range(rows)]


def flat(rows, code="f"):
    values = [x for row in rows for x in row]
    return struct.pack(f"<{len(values)}{code}", *values)


def npy_bytes(shape, data, descr="<f4", version=1, fortran=False, header=None):
    text = header if header is not None else (
        f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}")
    raw = text.encode() if isinstance(text, str) else text
    prefix = 10 if version == 1 else 12
    raw += b" " * (-(prefix + len(raw) + 1) % 64) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes([version, 0]) + size + raw + data


def write(path, data):
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


def npy(path, rows, **more):
    return write(path, npy_bytes((len(rows), len(rows[0])), flat(rows), **more))


def fvecs_bytes(rows):
    return b"".join(struct.pack("<i", len(row)) + struct.pack(f"<{len(row)}f", *row) for row in rows)


def bvecs_bytes(rows):
    return b"".join(struct.pack("<i", len(row)) + bytes(row) for row in rows)


def csv_bytes(rows, header=None, separator=",", end="\n"):
    lines = ([header] if header else []) + [separator.join(repr(x) for x in row) for row in rows]
    return "".join(line + end for line in lines).encode()


def idx_bytes(images, height, width, magic=0x803, rows=None):
    return struct.pack(">IIII", magic, len(images) if rows is None else rows, height, width) + b"".join(images)


def jsonl(path, objects):
    return write(path, "".join(json.dumps(o) + "\n" for o in objects))


def get(db, *ids, collection="default", code=0):
    return pomai("get", db, "-c", collection, "--json", "--", *ids, code=code).json()


def same_rows(db, ids, rows, collection="default"):
    for at in range(0, len(ids), 500):
        for found, row in zip(get(db, *ids[at:at + 500], collection=collection), rows[at:at + 500]):
            expect(found["found"] and found["vector"] == row or
                   [struct.pack("<f", x) for x in found["vector"]] == [struct.pack("<f", x) for x in row],
                   f"id {found['id']} holds {str(found)[:200]}, not {str(row)[:200]}")


def nothing_stored(db, *words, says=(), code=1, **more):
    """The refusal of an import leaves the row counts of the database, and its absence, alone."""
    before = counts(db)
    outcome = refused("import", db, *words, says=says, code=code, **more)
    after = counts(db)
    expect(before == after, f"row counts went from {before} to {after}: {outcome}")
    return outcome


# ---- usage ----

VERBS = ["create", "import", "export", "search", "count", "get", "update", "delete", "collections", "drop", "flush", "compact", "index",
         "stats", "digest", "verify", "salvage", "dump-wal", "dump-segment", "dump-manifest", "version", "help"]


def case_help_of_every_verb():
    listed = pomai("help", "--words").out.split()
    expect(listed == VERBS, f"verbs are {listed}")
    for verb in listed:
        text = pomai(verb, "--help").out
        expect(text.startswith(f"usage: pomai {verb} ") and "Example:" in text, f"help of {verb}: {text}")
        expect(pomai("help", verb).out == text, f"help {verb} differs from {verb} --help")
        expect(verb in pomai("help").out and verb in pomai("--help").out, f"{verb} is not in the list")
        for option in pomai("help", "--words", verb).out.split():
            expect(option in text, f"{option} is not in the help of {verb}")


def case_version():
    expect(pomai("version").out.startswith("pomai "), "version")
    expect(pomai("--version").out == pomai("version").out, "--version")
    expect("version" in pomai("version", "--json").json()[0], "version --json")


def case_usage_errors():
    pomai_alone = subprocess.run([PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect(pomai_alone.returncode == 2 and b"usage" in pomai_alone.stderr, "no arguments")
    refused("frobnicate", "x.db", code=2, says="frobnicate")
    refused("help", "frobnicate", code=2, says="frobnicate")
    npy("x.npy", vectors(2, 3))
    for words in (["import", "x.db"], ["import"], ["search"], ["get", "x.db"], ["delete", "x.db"], ["stats"],
                  ["verify", "a", "b"], ["create"], ["flush"], ["compact"], ["index"], ["digest"], ["salvage", "x.db"],
                  ["export"], ["export", "x.db", "rows.jsonl"], ["export", "x.db", "--json"],
                  ["dump-segment"], ["dump-segment", "x.db", "1", "2"], ["dump-manifest"], ["compact", "x.db", "1"],
                  ["count"], ["count", "x.db", "1"], ["update", "x.db", "1"], ["update", "x.db", "--set", "{}"],
                  ["update", "x.db", "1", "--set", "{}", "--document", "{}"],
                  ["update", "x.db", "1", "--set", "{}", "--all"], ["delete", "x.db", "1", "--where", '{"a": 1}'],
                  ["delete", "x.db", "--where", " { } "], ["delete", "x.db", "--all", "--where", '{"a": 1}'],
                  ["delete", "x.db", "--where", '{"a": 1}', "--where", '{"b": 1}'],
                  ["get", "x.db", "1", "--limit", "1"], ["get", "x.db", "--all", "--limit", "-1"],
                  ["create", "x.db", "--ttl", "7d"], ["drop", "x.db"], ["dump-wal"], ["collections"],
                  ["import", "x.db", "x.npy", "--no-such"], ["import", "x.db", "x.npy", "-Z"],
                  ["import", "x.db", "x.npy", "--batch"], ["import", "x.db", "x.npy", "--batch", "0"],
                  ["import", "x.db", "x.npy", "--batch", "-3"], ["import", "x.db", "x.npy", "--batch", "1e3"],
                  ["import", "x.db", "x.npy", "--limit", "99999999999999999999"],
                  ["import", "x.db", "x.npy", "--metric", "l3"], ["import", "x.db", "x.npy", "--durability", "none"],
                  ["import", "x.db", "x.npy", "--format", "parquet"], ["import", "x.db", "x.npy", "--json=yes"],
                  ["import", "x.db", "x.npy", "--shards", "257"], ["import", "x.db", "x.bin"],
                  ["create", "x.db", "--dim", "0"], ["create", "x.db", "--dim", "4294967296"],
                  ["create", "x.db", "--dim", "65537"], ["create", "x.db", "--metric", "l2"],
                  ["create", "x.db", "--dim", "3", "--ids", "uuid"], ["search", "x.db"],
                  ["search", "x.db", "--vector", "[1]", "--queries", "x.npy"],
                  ["search", "x.db", "--vector", "[1]", "-k", "0"],
                  ["search", "x.db", "--vector", "[1]", "--recall", "0"],
                  ["search", "x.db", "--vector", "[1]", "--recall", "1.1"],
                  ["search", "x.db", "--vector", "[1]", "--recall", "nan"],
                  ["search", "x.db", "--vector", "[1]", "--recall", "most"],
                  ["index", "x.db", "--deadline-ms", "soon"],
                  ["search", "x.db", "--vector", "[1]", "-k", "1000001"],
                  ["search", "x.db", "--vector", "[1]", "--deadline-ms", "soon"],
                  ["search", "x.db", "--vector", "[1]", "--deadline-ms", "nan"]):
        refused(*words, code=2, says="pomai help")
        expect(not os.path.exists("x.db"), f"{words} made a database")


def case_output_that_cannot_be_written():
    if not os.path.exists("/dev/full"):
        return
    with open("/dev/full", "wb") as full:
        process = subprocess.run([PROGRAM, "help"], stdout=full, stderr=subprocess.PIPE)
    expect(process.returncode == 1 and b"pomai: the output" in process.stderr, f"{process}")


def case_completion():
    if not COMPLETION:
        return
    script = f"""source {COMPLETION}
    pomai() {{ {PROGRAM} "$@"; }}
    COMP_WORDS=(pomai imp); COMP_CWORD=1; _pomai; echo "${{COMPREPLY[*]}}"
    COMP_WORDS=(pomai import x.db y.npy --dur); COMP_CWORD=4; _pomai; echo "${{COMPREPLY[*]}}"
    COMP_WORDS=(pomai import x.db --metric c); COMP_CWORD=4; _pomai; echo "${{COMPREPLY[*]}}" """
    out = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
    expect(out.split() == ["import", "--durability", "cosine"], f"completion gave {out}")


# ---- create, collections, drop ----

def case_create_and_drop():
    expect("made the database" in pomai("create", "x.db").out, "create")
    refused("create", "x.db", says="exists already")
    refused("create", "x.db", "--shards", 2, "--dim", 3, says="shards")
    pomai("create", "x.db", "-c", "docs", "--dim", 3, "--metric", "cosine", "--ids", "string")
    refused("create", "x.db", "-c", "docs", "--dim", 3, says="POMAI_EEXISTS")
    refused("create", "x.db", "-c", "../docs", "--dim", 3, says="POMAI_EINVAL")
    made = pomai("create", "y.db", "--dim", 65536, "--shards", 3, "--json").json()[0]
    expect(made["created_database"] and made["collection"] == "default" and made["dim"] == 65536, f"{made}")
    listed = [c for c in pomai("collections", "x.db", "--json").json() if c["collection"] == "docs"]
    expect(listed == [{"collection": "docs", "rows": 0, "dim": 3, "dtype": "float32", "metric": "cosine",
                       "ids": "string"}], f"{listed}")
    expect("cosine" in pomai("collections", "x.db").out, "collections as text")
    made = pomai("create", "x.db", "-c", "plain", "--dim", 3, "--index", "exact", "--json").json()[0]
    expect(made["index"] == "exact", f"{made}")
    expect(any(c.get("index") == "exact" for c in pomai("collections", "x.db", "--json").json()), "listed")
    expect("index exact" in pomai("collections", "x.db").out, "collections as text")
    refused("create", "x.db", "-c", "other", "--dim", 3, "--index", "tree", says="auto", code=2)
    pomai("drop", "x.db", "docs")
    expect("docs" not in counts("x.db"), "dropped")
    refused("drop", "x.db", "docs", says="POMAI_ENOTFOUND")


def case_no_database():
    npy("x.npy", vectors(2, 3))
    for words in (["search", "x.db", "--vector", "[1,2,3]"], ["get", "x.db", "1"], ["delete", "x.db", "1"],
                  ["stats", "x.db"], ["collections", "x.db"], ["verify", "x.db"], ["dump-wal", "x.db"],
                  ["flush", "x.db"], ["compact", "x.db"], ["index", "x.db"], ["digest", "x.db"], ["dump-segment", "x.db"],
                  ["dump-manifest", "x.db"], ["salvage", "x.db", "y.db"],
                  ["drop", "x.db", "a"]):
        outcome = pomai(*words, code=1)
        expect("pomai: " in outcome.err and "POMAI_" in outcome.err, f"{outcome}")
        expect(not os.path.exists("x.db"), f"{words} made a database")
    refused("import", "no/such/x.db", "x.npy", says="POMAI_")
    write("file", "text")
    refused("import", "file", "x.npy", says="POMAI_")
    os.mkdir("other")
    write("other/precious", "text")
    refused("import", "other", "x.npy", says="POMAI_")
    expect(os.listdir("other") == ["precious"], "a directory of other things was changed")


# ---- import ----

def case_npy_versions_and_types():
    rows = [[0.0, 1.0, -2.0], [3.5, 100.0, 7.0], [1.0, 2.0, 3.0]]
    for version in (1, 2, 3):
        npy("x.npy", rows, version=version)
        got = pomai("import", f"v{version}.db", "x.npy", "--ids", "rows", "--json").json()[0]
        expect(got["rows"] == 3 and got["dim"] == 3 and got["created"] and got["ok"], f"{got}")
        same_rows(f"v{version}.db", [0, 1, 2], rows)
    whole = [[0, 1, 2], [3, 100, 7], [1, 2, 3]]
    for descr, code, data in (("<f8", "d", rows), ("<f2", "e", rows), ("|u1", "B", whole), ("|i1", "b", whole),
                              ("<u2", "H", whole), ("<i2", "h", whole), ("<u4", "I", whole), ("<i4", "i", whole),
                              ("<u8", "Q", whole), ("<i8", "q", whole)):
        db = "t" + descr[1:] + ".db"
        write("x.npy", npy_bytes((3, 3), flat(data, code), descr=descr))
        outcome = pomai("import", db, "x.npy", "--ids", "rows")
        expect("note: " in outcome.err and "converted to float32" in outcome.err, f"{outcome}")
        same_rows(db, [0, 1, 2], [[float(x) for x in row] for row in data])
        expect(pomai("import", db, "x.npy", "--ids", "rows", "-q").err == "", "--quiet speaks")
    halves = [0x0001, 0x03ff, 0x0400, 0x7bff, 0x8000, 0xfbff, 0x3555]
    write("x.npy", npy_bytes((1, 7), struct.pack("<7H", *halves), descr="<f2"))
    pomai("import", "half.db", "x.npy", "--ids", "rows")
    same_rows("half.db", [0], [[struct.unpack("<e", struct.pack("<H", h))[0] for h in halves]])


def case_npy_refusals():
    good = vectors(4, 3)
    npy("good.npy", good)
    pomai("import", "x.db", "good.npy")
    body = flat(good)
    bad = {
        "empty": (b"", "is empty"),
        "short_magic": (b"\x93NUM", "ends after 4 bytes"),
        "magic": (b"\x93NUMPX\x01\x00" + npy_bytes((4, 3), body)[8:], "magic"),
        "text": (b"hello, this is no numpy file at all", "--format"),
        "version": (b"\x93NUMPY\x04\x00" + npy_bytes((4, 3), body)[8:], "version 4"),
        "no_length": (b"\x93NUMPY\x01\x00\x01", "length of the .npy header"),
        "header_cut": (npy_bytes((4, 3), b"")[:40], "inside the .npy header"),
        "header_huge": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "4294967295"),
        "header_65536": (b"\x93NUMPY\x02\x00\x00\x00\x01\x00{", "inside the .npy header"),
        "no_dict": (npy_bytes(None, body, header="hello"), "dictionary"),
        "unclosed": (npy_bytes(None, body, header="{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3)"), "header"),
        "after": (npy_bytes(None, body, header="{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3)} 1"), "header"),
        "no_shape": (npy_bytes(None, body, header="{'descr': '<f4', 'fortran_order': False}"), "lacks one of"),
        "extra_key": (npy_bytes(None, body, header="{'descr': '<f4', 'evil': False, 'shape': (4, 3)}"), "key other"),
        "bad_shape": (npy_bytes(None, body, header="{'descr': '<f4', 'fortran_order': False, 'shape': (4, x)}"), "shape"),
        "neg_shape": (npy_bytes((-4, 3), body), "shape"),
        "big_shape": (npy_bytes((99999999999999999999999, 3), body), "shape"),
        "shape_2^63": (npy_bytes((2**63, 3), body), "more than any file can"),
        "shape_2^62": (npy_bytes((2**62, 1), body), "more than any file can"),
        "dim_2^31": (npy_bytes((4, 2**31), body), "2147483648 dimensions"),
        "dim_65537": (npy_bytes((1, 65537), b"\0" * 4 * 65537), "65537 dimensions"),
        "dim_0": (npy_bytes((4, 0), b""), "0 dimensions"),
        "axes_1": (npy_bytes("(12,)", body), "1 axes"),
        "axes_3": (npy_bytes((2, 2, 3), body), "3 axes"),
        "axes_0": (npy_bytes("()", body[:4]), "0 axes"),
        "fortran": (npy_bytes((4, 3), body, fortran=True), "ascontiguousarray"),
        "big_endian": (npy_bytes((4, 3), body, descr=">f4"), "big-endian"),
        "object": (npy_bytes((4, 3), body, descr="|O"), "Python objects"),
        "complex": (npy_bytes((4, 3), body + body, descr="<c8"), "<c8"),
        "bool": (npy_bytes((4, 3), body[:12], descr="|b1"), "|b1"),
        "long_descr": (npy_bytes((4, 3), body, descr="<" + "f" * 200), "type of numbers"),
        "fields": (npy_bytes(None, body, header="{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,)}"),
                   "several fields"),
        "cut": (npy_bytes((4, 3), body[:-1]), "cut short"),
        "no_rows_there": (npy_bytes((4, 3), b""), "cut short"),
        "longer": (npy_bytes((4, 3), body + b"\0"), "longer than its header"),
        "no_rows": (npy_bytes((0, 3), b""), "no rows"),
        "nul_header": (npy_bytes(None, body, header=b"{'descr': '<f4\0', 'fortran_order': False, 'shape': (4, 3)}"), ""),
    }
    for name, (data, says) in bad.items():
        path = write(f"{name}.npy", data)
        nothing_stored("x.db", path, says=[says, path])
        nothing_stored("new.db", path)
        expect(not os.path.exists("new.db"), f"{name} made a database")
        # The same through gzip, where the size is not known beforehand.
        write(f"{name}.npy.gz", gzip.compress(data))
        nothing_stored("x.db", f"{name}.npy.gz")
    expect(counts("x.db") == {"default": 4}, "rows at the end")


def case_npy_values():
    pomai("create", "x.db", "--dim", 3)
    for value, what in ((math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite")):
        rows = vectors(8, 3)
        rows[5][1] = value
        npy("bad.npy", rows)
        says = ["POMAI_ENOTFINITE", "bad.npy, row 5 (offset 188): dimension 1 is " + what, "no row"]
        outcome = nothing_stored("x.db", "bad.npy", says=says)
        expect(outcome.out == "", f"words on stdout: {outcome}")
        nothing_stored("new.db", "bad.npy")
    write("big.npy", npy_bytes((1, 2), struct.pack("<2d", 1.0, 1e300), descr="<f8"))
    nothing_stored("new.db", "big.npy", says=["row 0 column 1", "1e+300", "float32"])
    rows = vectors(8, 3)
    rows[6] = [0.0, 0.0, 0.0]
    npy("zero.npy", rows)
    nothing_stored("cos.db", "zero.npy", "--metric", "cosine", says=["POMAI_EZEROVEC", "row 6 "])
    expect("default" not in counts("cos.db") or counts("cos.db")["default"] == 0, "an empty collection is left")
    pomai("import", "l2.db", "zero.npy")
    nothing_stored("x.db", npy("dim.npy", vectors(2, 4)), says=["4 dimensions", "has 3"])
    nothing_stored("l2.db", "zero.npy", "--metric", "ip", says=["has the metric l2"])


def case_rows_before_a_bad_one_stay():
    rows = vectors(50, 3)
    rows[33][0] = math.nan
    npy("bad.npy", rows)
    outcome = refused("import", "x.db", "bad.npy", "--ids", "rows", "--batch", 10, "--ledger", "ledger", "--json",
                      says=["row 33 ", "30 rows", "--skip 30"])
    summary = outcome.json()[0]
    expect(not summary["ok"] and summary["rows"] == 30 and "error" in summary, f"{summary}")
    expect(counts("x.db") == {"default": 30}, f"{counts('x.db')}")
    expect("row 3," not in outcome.err, f"a row of the batch is named: {outcome}")
    outcome = refused("import", "text.db", "bad.npy", "--batch", 10, says="row 33 (")
    expect(outcome.out.startswith("imported 30 rows of 3 dimensions into collection 'default' before the failure ("),
           f"reads like success: {outcome}")
    same_rows("x.db", list(range(30)), rows[:30])
    ledger = [tuple(map(int, line.split())) for line in open("ledger")]
    expect(ledger == [(0, 10, 0), (10, 10, 10), (20, 10, 20)], f"{ledger}")
    rows[33][0] = 1.0
    npy("bad.npy", rows)
    got = pomai("import", "x.db", "bad.npy", "--ids", "rows", "--skip", 30, "--json").json()[0]
    expect(got["rows"] == 20 and not got["created"], f"{got}")
    same_rows("x.db", list(range(50)), rows)


def case_an_id_twice():
    write("x.csv", "id,a\n1,1\n2,2\n1,3\n")
    nothing_stored("x.db", "x.csv", says="POMAI_EDUPID")
    expect(os.path.exists("x.db") and counts("x.db") == {}, f"{counts('x.db')}")
    pomai("import", "x.db", "x.csv", "--batch", 2)
    same_rows("x.db", [1, 2], [[3], [2]])
    for ids in ("rows", "assigned", write("ids.txt", "5\n6\n7\n")):
        nothing_stored("new.db", "x.csv", "--ids", ids, says="line 2 has an 'id', but --ids gives others")
        nothing_stored("new.db", jsonl("x.jsonl", [{"id": 1, "vector": [1]}]), "--ids", ids, says='has an "id"')
        expect(not os.path.exists("new.db"), "a database was made")


def case_batches_limits_ledger():
    rows = vectors(1000, 5)
    npy("x.npy", rows)
    got = pomai("import", "x.db", "x.npy", "--batch", 64, "--ledger", "ledger", "--limit", 700, "--skip", 100,
                "--durability", "os", "--json").json()[0]
    expect(got["rows"] == 700 and got["batches"] == 11, f"{got}")
    at = 100
    for line in open("ledger"):
        first, count, row = map(int, line.split())
        expect(row == at, f"ledger says row {row}, not {at}")
        same_rows("x.db", list(range(first, first + count)), rows[at:at + count])
        at += count
    expect(at == 800, f"the ledger ends at {at}")
    nothing_stored("x.db", "x.npy", "--skip", 1000, says="no rows left")
    nothing_stored("x.db", "x.npy", "--skip", 1001, says="1000 rows")
    nothing_stored("x.db", "x.npy", "--ledger", "no/such/ledger", says="no/such/ledger")
    for level in ("sync", "group", "os"):
        got = pomai("import", "x.db", "x.npy", "--durability", level, "--json", "--limit", 10).json()[0]
        expect(["os", "group", "sync"].index(got["durability"]) >= ["os", "group", "sync"].index(level), f"{got}")
    outcome = pomai("import", "x.db", "x.npy", "--batch", 4000000000)
    expect("48 MB" in outcome.err, f"{outcome}")


def case_fvecs():
    rows = vectors(100, 7)
    good = fvecs_bytes(rows)
    write("x.fvecs", good)
    pomai("import", "x.db", "x.fvecs", "--ids", "rows")
    write("x.fvecs.gz", gzip.compress(good))
    pomai("import", "gz.db", "x.fvecs.gz", "--ids", "rows")
    pomai("import", "in.db", "-", "--format", "fvecs", "--ids", "rows", stdin=good)
    for db in ("x.db", "gz.db", "in.db"):
        same_rows(db, list(range(100)), rows)
    changed = fvecs_bytes(rows[:50]) + fvecs_bytes(vectors(50, 6))
    while len(changed) % 32:
        changed += fvecs_bytes(vectors(1, 6))
    bad = {
        "empty": (b"", "is empty"),
        "three": (b"\1\0\0", "ends after 3 bytes"),
        "dim_0": (struct.pack("<i", 0), "0 dimensions"),
        "dim_-1": (struct.pack("<i", -1), "-1 dimensions"),
        "dim_2^31-1": (struct.pack("<i", 2**31 - 1) + b"\0" * 64, "2147483647 dimensions"),
        "dim_65537": (struct.pack("<i", 65537) + b"\0" * 64, "65537 dimensions"),
        "cut": (good[:-1], "no whole number of rows"),
        "cut_row": (good[:-30], "no whole number of rows"),
        "trailing": (good + b"\1\2\3", "no whole number of rows"),
        "changed": (changed, "row 50 at offset 1600 has 6 dimensions"),
    }
    for name, (data, says) in bad.items():
        nothing_stored("x.db", write(f"{name}.fvecs", data), says=[says, f"{name}.fvecs"])
        nothing_stored("x.db", write(f"{name}.fvecs.gz", gzip.compress(data)))
        refused("import", "in.db", "-", "--format", "fvecs", stdin=data, says="standard input")
    # 35,615 dimensions begin with the two bytes of gzip.
    wide = vectors(1, 35615)
    pomai("import", "wide.db", write("wide.fvecs", fvecs_bytes(wide)), "--ids", "rows")
    same_rows("wide.db", [0], wide)


def case_bvecs():
    rows = [[RANDOM.randrange(256) for _ in range(9)] for _ in range(80)]
    good = bvecs_bytes(rows)
    floats = [[float(x) for x in row] for row in rows]
    for name, data in (("x.bvecs", good), ("x.bvecs.gz", gzip.compress(good))):
        pomai("import", name + ".db", write(name, data), "--ids", "rows", "--batch", 7)
        same_rows(name + ".db", list(range(80)), floats)
    db = "x.bvecs.db"
    hits = pomai("search", db, "--queries", "x.bvecs", "-k", 1, "--json", "--limit", 3).json()
    expect([(h["hits"][0]["id"], h["hits"][0]["distance"]) for h in hits] == [(0, 0), (1, 0), (2, 0)], f"{hits}")
    changed = bvecs_bytes(rows[:40]) + struct.pack("<i", 8) + bytes(9) + bvecs_bytes(rows[41:])
    bad = {
        "empty": (b"", "is empty"),
        "two": (b"\1\0", "ends after 2 bytes"),
        "dim_0": (struct.pack("<i", 0), "0 dimensions"),
        "dim_-1": (struct.pack("<i", -1), "-1 dimensions"),
        "dim_65537": (struct.pack("<i", 65537) + bytes(65537), "65537 dimensions"),
        "no_row": (struct.pack("<i", 9), "no whole number of rows"),
        "cut": (good[:-1], "no whole number of rows"),
        "trailing": (good + b"\1", "no whole number of rows"),
        "changed": (changed, "row 40 at offset 520 has 8 dimensions"),
        "floats": (fvecs_bytes(vectors(5, 9)), "no file of bvecs"),
    }
    for name, (data, says) in bad.items():
        nothing_stored(db, write(f"{name}.bvecs", data), says=[says, f"{name}.bvecs"])
        nothing_stored("new.db", write(f"{name}.bvecs.gz", gzip.compress(data)))
        expect(not os.path.exists("new.db"), f"{name} made a database")
    widest = [[i % 256 for i in range(65536)]]
    pomai("import", "wide.db", write("wide.bvecs", bvecs_bytes(widest)), "--ids", "rows")
    same_rows("wide.db", [0], [[float(x) for x in widest[0]]])


def case_csv_without_header():
    rows = vectors(60, 5)
    ways = ((",", "\n"), (",", "\r\n"), ("\t", "\n"), (";", "\r\n"), (" , ", "\n"))
    for turn, (separator, end) in enumerate(ways):
        data = csv_bytes(rows, separator=separator, end=end)
        for name, data in ((f"{turn}.csv", data), (f"{turn}.tsv", b"\xef\xbb\xbf" + data.rstrip(b"\r\n")),
                           (f"{turn}.csv.gz", gzip.compress(data + end.encode()))):
            pomai("import", name + ".db", write(name, data), "--ids", "rows", "--batch", 7)
            same_rows(name + ".db", list(range(60)), rows)
    spellings = ["1e-3", "+1", ".5", "-0.25", "5.", "1E2", " 7 ", '"8"', "00", "1.5e+0",
                 "340282346638528859811704183484516925440"]
    pomai("import", "n.db", write("n.csv", ",".join(spellings)), "--ids", "rows")
    same_rows("n.db", [0], [[1e-3, 1, .5, -.25, 5, 100, 7, 8, 0, 1.5, 3.4028234663852886e38]])
    outcome = pomai("import", "one.db", write("one.csv", "1\n\n2\n \n3"), "--ids", "rows")
    expect("note: one.csv: no header: vectors of 1 column; ids by --ids\n" in outcome.err, f"{outcome}")
    outcome = pomai("import", "two.db", write("two.csv", "1,2\n"))
    expect("note: two.csv: no header: vectors of 2 columns; ids are assigned\n" in outcome.err, f"{outcome}")
    expect(pomai("import", "two.db", "two.csv", "-q").err == "", "--quiet speaks")
    outcome = pomai("search", "two.db", "--queries", "two.csv")
    expect("vectors of 2 columns; no ids\n" in outcome.err, f"{outcome}")
    same_rows("one.db", [0, 1, 2], [[1], [2], [3]])
    os.environ["LC_ALL"] = "de_DE.UTF-8"
    try:
        pomai("import", "de.db", write("de.csv", "1.5,2\n"), "--ids", "rows")
    finally:
        del os.environ["LC_ALL"]
    same_rows("de.db", [0], [[1.5, 2]])


def case_csv_with_header():
    text = 'ID,title,x0,x1,"the ""note"""\r\n7,"a, b",1,2,"two\r\nlines"\r\n8,ü "quoted" inside,3,-4.5,\r\n'
    outcome = pomai("import", "x.db", write("x.csv", "\ufeff" + text))
    expect("note: x.csv: vectors from 2 columns from 'x0' on, ids from 'id' (numbers), documents from 2 ('title'" in
           outcome.err, f"{outcome}")
    documents = [r["document"] for r in get("x.db", 7, 8)]
    expect(documents == [{"title": "a, b", 'the "note"': "two\r\nlines"},
                         {"title": 'ü "quoted" inside', 'the "note"': ""}], f"{documents}")
    same_rows("x.db", [7, 8], [[1, 2], [3, -4.5]])
    expect(pomai("import", "x.db", "x.csv", "--quiet").err == "", "--quiet speaks")
    arrays = 'year;vector;id\n2001;[1, 2.5];a\n"19""99";"[3,4]";"b\nc"\n'
    outcome = pomai("import", "s.db", write("s.csv", arrays), "-c", "docs")
    expect("vectors from the column 'vector', ids from 'id' (text), documents" in outcome.err, f"{outcome}")
    rows = get("s.db", "a", "b\nc", collection="docs")
    expect([r["document"] for r in rows] == [{"year": "2001"}, {"year": '19"99'}], f"{rows}")
    same_rows("s.db", ["a", "b\nc"], [[1, 2.5], [3, 4]], collection="docs")
    # Numbers as ids: those of a collection that is there decide, else the first row does.
    write("n.csv", "id,a\n18446744073709551614,1\n2,2\n")
    pomai("import", "u.db", "n.csv")
    same_rows("u.db", [2**64 - 2, 2], [[1], [2]])
    pomai("create", "t.db", "--dim", 1, "--ids", "string")
    pomai("import", "t.db", "n.csv")
    same_rows("t.db", ["18446744073709551614", "2"], [[1], [2]])
    pomai("import", "ids.db", write("noid.csv", "a,b\n1,2\n"), "--ids", write("ids.txt", "5\n"))
    same_rows("ids.db", [5], [[1, 2]])
    first = pomai("import", "as.db", "noid.csv", "--json").json()[0]["first_id"]
    same_rows("as.db", [first], [[1, 2]])
    # The id may stand among the columns of the vector.
    pomai("import", "mid.db", write("mid.csv", "a,id,b,text\n1,9,2,3rd\n"))
    same_rows("mid.db", [9], [[1, 2]])
    answers = pomai("search", "x.db", "--queries", "x.csv", "-k", 1, "--json").json()
    expect([a["hits"][0]["id"] for a in answers] == [7, 8], f"{answers}")
    widest = ",".join(["0.5"] * 65536)
    pomai("import", "wide.db", write("wide.csv", "id,vector\n" + f'1,"[{widest}]"\n'))
    same_rows("wide.db", [1], [[0.5] * 65536])


def case_csv_column_without_first_value():
    """Undecided by the first row: text to the end of the file, or refused, wherever the first number stands."""
    text = "id,t,u,v,x\n1,,-,Null,5\n2,a,N/A,null,6\n3,,b,,7\n"
    outcome = pomai("import", "x.db", write("x.csv", text), "--batch", 1)
    expect("documents from 3 ('t', ...)" in outcome.err and "'t' and others have no value" in outcome.err, f"{outcome}")
    documents = [r["document"] for r in get("x.db", 1, 2, 3)]
    expect(documents == [{"t": "", "u": "-", "v": "Null"}, {"t": "a", "u": "N/A", "v": "null"},
                         {"t": "", "u": "b", "v": ""}], f"{documents}")
    same_rows("x.db", [1, 2, 3], [[5], [6], [7]])
    rows = "".join(f"{i},,{i}\n" for i in range(1, 20))
    write("late.csv", "id,x,y\n" + rows + "20,1,20\n")
    for batch in (1, 7, 100):
        outcome = refused("import", f"{batch}.db", "late.csv", "--batch", batch, says="line 21 column 2 ('x')")
        expect(counts(f"{batch}.db").get("default", 0) == 19 // batch * batch, f"{outcome}")
    refused("import", "skip.db", "late.csv", "--skip", 20, says="line 21 column 2 ('x')")
    # With a column of arrays, no other column can be meant.
    pomai("import", "v.db", write("v.csv", 'id,year,vector\n1,,"[1,2]"\n2,1999,"[3,4]"\n3,"1,5","[3,4]"\n'))
    documents = [r["document"] for r in get("v.db", 1, 2, 3)]
    expect(documents == [{"year": ""}, {"year": "1999"}, {"year": "1,5"}], f"{documents}")


def case_csv_refusals():
    pomai("import", "x.db", write("good.csv", "id,a,b\n1,1,2\n2,3,4\n"))
    ok = "id,a,b\n5,1,2\n"
    bad = {
        "empty": ("", "no rows"),
        "blank": ("\n \r\n\n", "no rows"),
        "header_only": ("id,a,b\n", "no rows"),
        "few": (ok + "6,1\n", "line 3 has 2 columns, the first line has 3"),
        "many": (ok + "6,1,2,3\n", "line 3 has 4 columns, the first line has 3"),
        "many_no_header": ("1,2\n1,2,3\n", "line 2 has 3 columns, the first line has 2"),
        "word": (ok + "6,one,2\n", "line 3 column 2 ('a') is 'one', not a number"),
        "empty_number": (ok + "6,,2\n", "line 3 column 2 ('a') is empty"),
        "nan": (ok + "6,1,nan\n", "line 3 column 3 ('b') is 'nan'"),
        "inf": (ok + "6,1,-inf\n", "'-inf'"),
        "hex": (ok + "6,1,0x10\n", "'0x10'"),
        "trailing": (ok + "6,1,2x\n", "'2x'"),
        "two_points": (ok + "6,1,1.2.3\n", "'1.2.3'"),
        "exponent": (ok + "6,1,1e\n", "'1e'"),
        "sign": (ok + "6,1,-\n", "'-'"),
        "signs": (ok + "6,1,+-1\n", "'+-1'"),
        "point": (ok + "6,1,.\n", "'.'"),
        "blank_in_number": (ok + "6,1,1 2\n", "'1 2'"),
        "comma": ("id;a;b\n5;1;2\n6;1;2,5\n", "write a point"),
        "all_commas": ("id;a;b\n5;1,0;2,5\n", "line 2 column 2 ('a') is '1,0', a number with a decimal comma"),
        "one_comma": ('id,a,b\n5,1,"-2,5"\n', "line 2 column 3 ('b') is '-2,5', a number with a decimal comma"),
        "range": (ok + "6,1,1e39\n", "line 3 column 3 ('b') is 1e39, which is beyond the range of float32"),
        "range_no_header": ("1,1e39\n", "line 1 column 2 is 1e39"),
        "first_nan": ("1,nan\n2,3\n", "line 1 column 2 is 'nan'"),
        "first_empty": ("1,,2\n2,3,4\n", "line 1 column 2 is empty"),
        "first_garbage": ("1,2x\n2,3\n", "line 1 column 2 is '2x'"),
        "first_row_nan": ("a,b\nnan,1\n", "line 2 column 1 ('a') is 'nan' in the first row"),
        "hole": ("a,b,c\n1,,3\n", ["'b' is between them", "fill it in"]),
        "open": ("id,x,y\n1,,2\n2,5,6\n", ["line 3 column 2 ('x') is the number 5", "(line 2)", "fill in"]),
        "open_dash": ("id,x,y\n1,-,2\n2,-,6\n3,-4.5,6\n", "line 4 column 2 ('x') is the number -4.5"),
        "open_na": ("id,x,y\n1,2,n/a\n2,5,word\n\n3,5,1e3\n", "line 5 column 3 ('y') is the number 1e3"),
        "open_null": ("x,y\nNULL,1\n2,1\n", "line 3 column 1 ('x') is the number 2"),
        "open_comma": ("x;y\n1;NA\n2;1,5\n", "line 3 column 2 ('y') is the number 1,5"),
        "open_all": ("x,y\n,NA\n2,1\n", "line 2 has no number"),
        "apart": ("year,title,x\n2001,t,1\n", "do not stand side by side"),
        "no_numbers": ("id,a\n1,x\n", "has no number outside of 'id'"),
        "pandas": (",a,b\n0,1,2\n", "line 1 column 1 has no name"),
        "same_name": ("a,b,A\n1,2,3\n", "names two columns"),
        "two_ids": ("id,a,id\n1,2,3\n", "names two columns"),
        "name_utf8": (b"a,\xff\n1,2\n", "UTF-8"),
        "unclosed": (ok + '6,1,"2\n7,1,2\n', "line 3 begins a quoted field that is never closed"),
        "unclosed_end": (ok + '6,1,"', "never closed"),
        "behind_quote": (ok + '6,1,"2"x\n', "line 3 column 3 ('b') has text behind its closing quote"),
        "nul": (ok + "6,1,2\0\n", "line 3 has a byte that is 0"),
        "nuls": (b"\0" * 1000, "line 1 has a byte that is 0"),
        "utf16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        "text_utf8": (b"t,a,b,id\n\xff\xfe,1,2,3\n", "line 2 column 1 ('t') is no UTF-8"),
        "long": (ok + "6,1," + "2" * 9_000_000 + "\n", "line 3 is longer than 8388608 bytes"),
        "long_quoted": (ok + '6,1,"' + "2\n" * 4_500_000, "is longer than 8388608 bytes"),
        "wide": (",".join(["1"] * 65537), "65537 dimensions"),
        "wider": ("," * 1_000_000, "more than 66560 columns"),
        "id_empty": (ok + ",1,2\n", "line 3 column 1 ('id') is an id of 0 bytes"),
        "id_long": ("id,a,b\n" + "x" * 513 + ",1,2\n", "513 bytes"),
        "id_kind": (ok + "x,1,2\n", ["line 3: 'x' is not a whole number"]),
        "id_sign": (ok + "+6,1,2\n", ["line 3: '+6' is not a whole number"]),
        "dup": (ok + "6,1,2\n\n5,1,2\n", ["POMAI_EDUPID", "line 2, and again in line 5"]),
        "array": ("id,vector\n1,\"[1, 2]\"\n2,hello\n", "line 3 column 2 ('vector') is 'hello', no JSON array"),
        "array_empty": ("id,vector\n1,[]\n", "0 dimensions"),
        "array_object": ("id,vector\n1,{}\n", "no JSON array"),
        "array_cut": ("id,vector\n1,[1\n", "no JSON array"),
        "array_dim": ("id,vector\n1,\"[1, 2]\"\n2,[1]\n", "has 1 dimensions, the rows before it have 2"),
        "array_wide": ('id,vector\n1,"[' + "1," * 65536 + '1]"\n', "65537 dimensions"),
        "array_null": ('id,vector\n1,"[1,null]"\n', "line 2: element 1 of the vector is no number"),
        "array_deep": ("id,vector\n1," + "[" * 100000 + "\n", "no JSON array"),
        "array_alone": ('"[1,2]"\n', ["line 1 column 1 is '[1,2]'", "a column 'vector', quoted"]),
        "array_bare": ("id,vector\n1,[3,4]\n", ["line 2 has 3 columns", "quote the array"]),
        "array_bare_fits": ("id,vector,t\n1,[3,4]\n", ["line 2 column 2 ('vector') is '[3'", "with the quotes"]),
        "cr": ("id,a,b\r1,2,3\r", "line 1 has a carriage return inside; lines end in LF or CRLF"),
        "cr_no_header": ("1,2\r3,4", "line 1 has a carriage return inside"),
        "cr_quoted": ('"a","b"\r1,2\r', "line 1 has a carriage return inside"),
    }
    engine = ("dup", "id_kind", "id_sign")  # found by the database
    for name, (data, says) in bad.items():
        path = write(f"{name}.csv", data)
        nothing_stored("x.db", path, says=[path, *([says] if isinstance(says, str) else says)], limit_mb=300)
        with open(path, "rb") as file:
            nothing_stored("new.db", write(f"{name}.csv.gz", gzip.compress(file.read(), 1)))
        if name in engine:
            shutil.rmtree("new.db")
        expect(not os.path.exists("new.db"), f"{name} made a database")
    nothing_stored("x.db", "good.csv", "--ids", "rows", says="line 2 has an 'id', but --ids gives others")
    expect(counts("x.db") == {"default": 2}, "rows at the end")
    # The rows before a bad one stay.
    rows = "".join(f"{i},1,2\n" for i in range(10, 30))
    refused("import", "part.db", write("part.csv", "id,a,b\n" + rows + "9,nan,1\n"), "--batch", 5,
            says=["line 22 column 2", "20 rows", "--skip 20"])
    expect(counts("part.db") == {"default": 20}, "rows of part.db")


def case_standard_input():
    rows = [[float(RANDOM.randrange(200)) for _ in range(6)] for _ in range(30)]
    whole = [[int(x) for x in row] for row in rows]
    files = {
        "npy": npy_bytes((30, 6), flat(rows)),
        "fvecs": fvecs_bytes(rows),
        "bvecs": bvecs_bytes(whole),
        "csv": csv_bytes(rows, "a,b,c,d,e,f"),
        "jsonl": "".join(json.dumps({"vector": row}) + "\n" for row in rows).encode(),
        "idx": idx_bytes([bytes(row) for row in whole], 2, 3),
    }
    for name, data in files.items():
        members = gzip.compress(data[:50]) + gzip.compress(data[50:])
        for packed in (data, gzip.compress(data), members, members + bytes(512)):
            # From a pipe, from a file, and from a file that was read a little before.
            shutil.rmtree("x.db", ignore_errors=True)
            pomai("import", "x.db", "-", "--format", name, "--ids", "rows", "--batch", 7, stdin=packed)
            same_rows("x.db", list(range(30)), rows)
            for skip in (0, 5):
                shutil.rmtree("x.db")
                with open(write("file", b"x" * skip + packed), "rb", buffering=0) as file:
                    file.read(skip)
                    done = subprocess.run([PROGRAM, "import", "x.db", "-", "-f", name, "--ids", "rows"], stdin=file,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                expect(done.returncode == 0, f"{name} from a file: {done}")
                same_rows("x.db", list(range(30)), rows)
            got = pomai("search", "x.db", "--queries", "-", "-f", name, "-k", 1, "--json", stdin=packed).json()
            expect([a["hits"][0]["distance"] for a in got] == [0] * 30, f"{got}")
        for packed in (gzip.compress(data), members):
            for cut in (1, 8, 9, 20):
                nothing_stored("x.db", "-", "--format", name, stdin=packed[:-cut],
                               says="standard input: the gzip data end too early")
            nothing_stored("x.db", "-", "--format", name, stdin=packed + b"x" * 20, says="gzip data are damaged")
        nothing_stored("x.db", "-", "--format", name, stdin=b"", says="standard input")
    refused("import", "new.db", "-", code=2, stdin=files["npy"], says=["standard input has no name", "--format npy, f"])
    refused("search", "x.db", "--queries", "-", code=2, stdin=files["npy"], says="standard input has no name")
    refused("import", "new.db", "-", "-f", "npy", "--ids", "-", code=2, stdin=files["npy"], says="cannot both")
    expect(not os.path.exists("new.db"), "a database was made")
    npy("x.npy", rows)
    numbers = npy_bytes("(30,)", struct.pack("<30Q", *range(100, 130)), descr="<u8")
    for ids in (numbers, gzip.compress(numbers), "".join(f"{i}\n" for i in range(100, 130)).encode()):
        shutil.rmtree("x.db")
        pomai("import", "x.db", "x.npy", "--ids", "-", stdin=ids)
        same_rows("x.db", list(range(100, 130)), rows)


def case_idx():
    images = [bytes(RANDOM.randrange(256) for _ in range(12)) for _ in range(50)]
    good = idx_bytes(images, 3, 4)
    rows = [[float(x) for x in image] for image in images]
    for name, data in (("x-idx3-ubyte", good), ("x-idx3-ubyte.gz", gzip.compress(good)), ("x.idx", good)):
        pomai("import", name + ".db", write(name, data), "--ids", "rows")
        same_rows(name + ".db", list(range(50)), rows)
    db = "x.idx.db"
    bad = {
        "empty": (b"", "is empty"),
        "labels": (struct.pack(">II", 0x801, 50) + bytes(50), "labels"),
        "magic": (struct.pack(">I", 0x802) + good[4:], "0x00000802"),
        "head": (good[:10], "idx header"),
        "zero": (idx_bytes([], 0, 4), "0 x 4"),
        "huge": (idx_bytes(images, 2**31, 2**31), "2147483648 x 2147483648"),
        "wrap": (idx_bytes(images, 2**16, 2**16), "65536 x 65536"),
        "rows": (idx_bytes(images, 3, 4, rows=2**32 - 1), "cut short"),
        "cut": (good[:-1], "cut short"),
        "longer": (good + b"\0", "longer"),
        "none": (idx_bytes([], 3, 4), "no rows"),
    }
    for name, (data, says) in bad.items():
        nothing_stored(db, write(f"{name}-idx3-ubyte", data), says=[says, f"{name}-idx3-ubyte"])
        nothing_stored(db, write(f"{name}-idx3-ubyte.gz", gzip.compress(data)))
        nothing_stored("new.db", f"{name}-idx3-ubyte.gz")
        expect(not os.path.exists("new.db"), f"{name} made a database")


def case_gzip():
    rows = vectors(2000, 16)
    whole = gzip.compress(npy_bytes((2000, 16), flat(rows)))
    pomai("import", "x.db", write("x.npy.gz", whole), "--ids", "rows")
    same_rows("x.db", [0, 1999], [rows[0], rows[1999]])
    for size in (3, 10, 11, 20, len(whole) // 2, len(whole) - 9, len(whole) - 8, len(whole) - 1):
        nothing_stored("x.db", write("cut.npy.gz", whole[:size]), says="cut.npy.gz")
    for at in (12, len(whole) // 2, len(whole) - 8, len(whole) - 4):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        nothing_stored("damaged.db", write("bad.npy.gz", bytes(damaged)), says="bad.npy.gz")
        expect(not os.path.exists("damaged.db"), f"gzip damaged at {at} made a database")
    # Two members one after the other are one file.
    body = npy_bytes((2000, 16), flat(rows))
    pomai("import", "two.db", write("two.npy.gz", gzip.compress(body[:999]) + gzip.compress(body[999:])))
    # A bomb: little in, much out. It is refused by what comes out, not by running out of memory.
    bomb = gzip.compress(b"\0" * 100_000_000, 9)
    for name, says in (("bomb.jsonl.gz", "longer than"), ("bomb.fvecs.gz", "0 dimensions"),
                       ("bomb.csv.gz", "longer than"), ("bomb.bvecs.gz", "0 dimensions"), ("bomb.npy.gz", "magic"),
                       ("bomb-idx3-ubyte.gz", "0x00000000")):
        nothing_stored("x.db", write(name, bomb), says=says, limit_mb=60)
    header = npy_bytes((1, 3), struct.pack("<3f", 1, 2, 3))
    write("tail.npy.gz", gzip.compress(header + b"\0" * 50_000_000))
    nothing_stored("x.db", "tail.npy.gz", says="after its last row")


def case_memory_is_bounded_by_the_batch():
    dim = 1000
    write("wide.jsonl", '{"vector": [' + "0," * 2_000_000 + "0]}\n")
    refused("import", "wide.db", "wide.jsonl", says="2000001 dimensions", limit_mb=300)
    # 100 MB of rows that are passed over, of a file that says it has 2^40.
    header = npy_bytes((2**40, dim), b"", descr="|u1")
    refused("import", "none.db", "-", "--format", "npy", "--skip", 200_000, "--limit", 1,
            stdin=header + bytes(dim) * 100_000, says="ends after", limit_mb=60)


def case_jsonl():
    objects = [
        {"id": 7, "vector": [1, 2.5, -3], "colour": "rot", "n": 0.1},
        {"id": 2**63 - 1, "vector": [0.1, 1e-3, 3], "metadata": {"a": [1, {"b": None}], "ü": "\u2028\u0000\""}},
        {"vector": [4, 5, 6], "id": 0},
        {"id": 9, "vector": [4, 5, 7], "metadata": None},
        {"id": 10, "vector": [4, 5, 8], "metadata": {}},
    ]
    text = "".join(json.dumps(o) + "\n" for o in objects)
    write("x.jsonl", "\ufeff" + text.replace("\n", "\r\n", 1) + "\n  \n")
    pomai("import", "x.db", "x.jsonl")
    rows = get("x.db", 7, 2**63 - 1, 0, 9, 10)
    expect([r.get("document") for r in rows] ==
           [{"colour": "rot", "n": 0.1}, objects[1]["metadata"], None, None, {}], f"{rows}")
    same_rows("x.db", [7], [[1, 2.5, -3]])
    raw = pomai("get", "x.db", 7, "--json").out
    expect('"document":{"colour":"rot","n":0.1}' in raw, f"not compact, or digits changed: {raw}")
    write("nl.jsonl", text.rstrip("\n"))
    pomai("import", "nl.db", "nl.jsonl")
    expect(counts("nl.db")["default"] == 5, "without the last line feed")
    jsonl("s.jsonl", [{"id": "a", "vector": [1, 2]}, {"id": "b" * 512, "vector": [3, 4]},
                      {"id": "tab\tü\x1b[31m", "vector": [5, 6], "x": "\x1b[31m"}])
    got = pomai("import", "s.db", "s.jsonl", "-c", "docs", "--metric", "ip", "--json").json()[0]
    expect(got["created"] and got["collection"] == "docs", f"{got}")
    expect(pomai("collections", "s.db", "--json").json()[-1]["ids"] == "string", "string ids")
    same_rows("s.db", ["a", "b" * 512, "tab\tü\x1b[31m"], [[1, 2], [3, 4], [5, 6]], collection="docs")
    out = pomai("get", "s.db", "-c", "docs", "tab\tü\x1b[31m").out
    expect("\\x09ü\\x1b[31m" in out, f"control characters reach the terminal: {out!r}")
    jsonl("none.jsonl", [{"vector": [1, 2]}, {"vector": [3, 4]}])
    first = pomai("import", "none.db", "none.jsonl", "--json").json()[0]["first_id"]
    same_rows("none.db", [first, first + 1], [[1, 2], [3, 4]])


def case_csv_says_that_numbers_are_text():
    write("x.csv", 'id,title,vector,price\n1,a,"[1, 2]",5\n2,b,"[1, 3]",17\n')
    says = pomai("import", "x.db", "x.csv").err
    expect("'price' has numbers, but is kept as text" in says and "'title' has" not in says, says)
    found = [pomai("count", "x.db", "--where", f, "--json").json()[0]["rows"]
             for f in ('{"price": {"$gt": 0}}', '{"price": "5"}', '{"price": {"$gt": "2"}}')]
    expect(found == [0, 1, 1], f"{found}")
    write("y.csv", "id,x,y,title\n1,1,2,a\n")
    expect("kept as text" not in pomai("import", "y.db", "y.csv").err, "no column of numbers beside the vector")


def case_what_an_update_writes():
    refused("update", "x.db", "1", says="give --set or --document; see", code=2)
    refused("update", "x.db", "1", "--set", "{}", "--document", "{}", says="--document, not both", code=2)


def case_empty_filters():
    pomai("import", "x.db", jsonl("x.jsonl", [{"id": 1, "vector": [1, 2], "n": 1}]))
    for words in (["get"], ["update", "--set", '{"n": 2}'], ["delete"]):
        for empty in (
            "{}", " { } ", '{"$and": [{}]}', '{"$and": [{}, {"$or": [{"n": 1e999}, {}]}]}', '{"$not": {"$not": {}}}',
            '{"n": {"$nin": []}}', '{"n": {"$not": {"$in": []}}}', '{"n": {"$nin": []}, "a.b": {"$nin": []}}',
            '{"$not": {"n": {"$in": []}}}', '{"n": {"$not": {"$gt": 5, "$in": []}}}',
            '{"n": {"$not": {"$not": {"$nin": [], "$not": {"$in": []}}}}}',
            '{"$and": [{"n": {"$nin": []}}, {}]}', '{"$or": [{"n": 7}, {"n": {"$nin": []}}]}',
            # what readers of JSON elsewhere do not take
            r'{"a\u0000b": {"$nin": []}}', r'{"$or": [{}, {"x\u0000": 1}]}', '{"$or": [{}, {"a": %s}]}' % ("1" * 5000),
            '{"$or": [{}, {"a": {"$in": [%s, 1e-99999]}}]}' % ("1" * 400),
        ):
            refused(words[0], "x.db", *words[1:], "--where", empty, says="say --all", code=2)
        for other in ('{"$and": []}', '{"$or": {}}', "{} {}", "[]", '{"$and": [[]]}', '{"n": {}}', '{"n": {"$nin": {}}}'):
            refused(words[0], "x.db", *words[1:], "--where", other, says="filter")
    for none in ('{"$not": {}}', '{"$or": [{"$not": {}}, {"n": {"$not": {"$exists": true}}}]}', '{"$and": [{}, {"n": 2}]}',
                 '{"n": {"$in": []}}', '{"n": {"$nin": [], "$gt": 1}}', '{"n": {"$nin": [1]}}', '{"n": {"$not": {"$nin": []}}}'):
        pomai("delete", "x.db", "--where", none)
    expect(get("x.db", 1)[0]["document"] == {"n": 1}, "changed")
    for verb in ("count", "export"):
        pomai(verb, "x.db", "--where", "{}")


def case_filters_of_files():
    pomai("import", "x.db", jsonl("x.jsonl", [{"id": i, "vector": [1, i], "n": i} for i in range(4)]))
    some = '{"n": {"$gte": 2}}\n'
    write("f.json", some)
    with open("f.gz", "wb") as packed:
        packed.write(gzip.compress(some.encode()))
    for where, stdin in ("@f.json", None), ("@f.gz", None), ("-", some.encode()), ("@-", some.encode()):
        expect(pomai("count", "x.db", "-w", where, stdin=stdin).out == "2\n", where)
    refused("search", "x.db", "--queries", "-", "-f", "csv", "--where", "-", code=2, stdin=b"", says="cannot both be standard input")
    refused("count", "x.db", "--where", "-", stdin=b"", says="filter: not JSON at byte 0")
    refused("count", "x.db", "--where", "@none", says="none: No such file")
    expect("usage:" in pomai("count", "x.db", "--where", "@none", "--help").out, "help reads the file")


def case_jsonl_keeps_documents():
    """As they are written, but for blanks: no number loses a digit."""
    long = "3.14159265358979323846264338327950288"
    documents = [
        '{"n":9007199254740993,"big":123456789012345678901234567890,"pi":%s,"far":[1e999,-1E+400,1e-5000]}' % long,
        '{"price":1.50,"e":1E5,"z":-0.0,"s":"\\u00fc \\"{}[],: 1e999\\"","\\u0061":{"b":[]," c":[{},[ ]]}}',
        '{"\\u0069":12345678901234567890}', '{"a" : { "b" :\t[ 1.10 , "x y" , true ] } , "c":null }', "{}",
        '{"id":7,"vector":[99999999999999999999],"metadata":1}',
    ]
    compact = [d if "\t" not in d else '{"a":{"b":[1.10,"x y",true]},"c":null}' for d in documents]
    compact[1] = compact[1].replace("[ ]", "[]")
    lines = ['{"vector": [1, %d], "id": %d, "metadata" : %s}\r\n' % (i, i, d) for i, d in enumerate(documents)]
    lines += ['{ "i\\u0064" : %d, %s, "vector" : [2, %d]}\n' % (i + 10, documents[i][1:-1], i) for i in range(4)]
    lines.append('{"x": 1e999, "id": 20, "vector": [1, 2], "expiry_ns": 9223372036854775807, "y": "]}"}')
    compact += compact[:4] + ['{"x":1e999,"y":"]}"}']
    write("x.jsonl", "".join(lines))
    pomai("import", "x.db", "x.jsonl")
    ids = [*range(6), *range(10, 14), 20]
    got = pomai("get", "x.db", *ids, "--json").out.splitlines()
    for i, (line, wanted) in enumerate(zip(got, compact, strict=True)):
        expect(line.partition(',"document":')[2].startswith((wanted + "}", wanted + ",")), f"{line} has not {wanted}")
    expect(pomai("count", "x.db", "--where", '{"pi": %s}' % long, "--json").json()[0]["rows"] == 2, "rounded")
    exported = pomai("export", "x.db", "-o", "out.jsonl") and open("out.jsonl", encoding="utf-8").read()
    expect(all(f'"metadata":{wanted}' in exported for wanted in compact) and "document_text" not in exported, exported)
    pomai("import", "y.db", "out.jsonl")
    again = pomai("get", "y.db", *ids, "--json").out.splitlines()
    documents = [[line.partition('"document":')[2] for line in part] for part in (got, again)]
    expect(documents[0] == documents[1], f"{documents}")
    for name, line, says in (
        ("id", '{"id": 1%s, "vector": [1, 2], "n": 1e999}' % ("0" * 20), "too big"),
        ("vector", '{"vector": [1e999, 2], "n": 1e999}', "overflow"),
        ("n", '{"vector": [1, 2], "n": [1e999, 01e999]}', "is no JSON at column 33"),
        ("colon", '{"vector": [1, 2], "n": 1e999, "m" 1e999}', "is no JSON"),
        ("twice", '{"vector": [1, 2], "n": 1e999, "n": 1}', "duplicate"),
    ):
        nothing_stored(f"{name}.db", write(f"{name}.jsonl", line), says=says)


def case_jsonl_refusals():
    jsonl("good.jsonl", [{"id": 1, "vector": [1, 2, 3]}, {"id": 2, "vector": [4, 5, 6]}])
    pomai("import", "x.db", "good.jsonl")
    ok = '{"id": 5, "vector": [1, 2, 3]}\n'
    bad = {
        "no_json": (ok + "hello\n", "line 2 is no JSON"),
        "cut": (ok + '{"id": 6, "vector": [1, 2', "line 2 is no JSON"),
        "nan": (ok + '{"id": 6, "vector": [1, 2, NaN]}\n', ["line 2 ", "JSON has neither NaN nor infinity"]),
        "inf": (ok + '{"id": 6, "vector": [1, -Infinity, 2]}\n', ["line 2 ", "JSON has neither NaN nor infinity"]),
        "text_vector": (ok + '{"id": 6, "vector": "[1, 2, 3]"}\n', 'line 2 has a "vector" that is text'),
        "odd_vector": (ok + '{"id": 6, "vector": 3}\n', 'line 2 has a "vector" that is no array of numbers'),
        "pretty": (json.dumps({"id": 5, "vector": [1, 2, 3]}, indent=2), ["line 1 ", "a row is an object on one line"]),
        "pretty_list": (json.dumps([{"id": 5}], indent=2), ["line 1 ", "on one line, without an array around all"]),
        "list": (json.dumps([{"id": 5}]), ["line 1 is no JSON object", "alone on its line"]),
        "overflow": (ok + '{"id": 6, "vector": [1, 2, 1e999]}\n', "line 2"),
        "range": (ok + '{"id": 6, "vector": [1, 2, 1e39]}\n', "line 2: element 2 of the vector is 1e+39"),
        "string": (ok + '{"id": 6, "vector": [1, "2", 3]}\n', "element 1 of the vector is no number"),
        "nested": (ok + '{"id": 6, "vector": [[1, 2, 3]]}\n', "line 2"),
        "array": (ok + "[1, 2, 3]\n", "line 2 is no JSON object"),
        "number": (ok + "3\n", "line 2"),
        "no_vector": (ok + '{"id": 6}\n', "line 2 has no \"vector\""),
        "empty_vector": (ok + '{"id": 6, "vector": []}\n', "0 dimensions"),
        "dim": (ok + '{"id": 6, "vector": [1, 2]}\n', "line 2 has a vector of 2 dimensions"),
        "wide": ('{"id": 6, "vector": [' + "1," * 65536 + "1]}\n", "65537 dimensions"),
        "id_neg": (ok + '{"id": -1, "vector": [1, 2, 3]}\n', "line 2 has an \"id\""),
        "id_real": (ok + '{"id": 1.5, "vector": [1, 2, 3]}\n', "line 2 has an \"id\""),
        "id_big": (ok + '{"id": 9223372036854775808, "vector": [1, 2, 3]}\n',
                   ["line 2 ", "go to 2^63-1", "--ids FILE"]),
        "id_null": (ok + '{"id": null, "vector": [1, 2, 3]}\n', "line 2"),
        "id_object": (ok + '{"id": {}, "vector": [1, 2, 3]}\n', "line 2"),
        "id_missing": (ok + '{"vector": [1, 2, 3]}\n', "line 2 has no \"id\""),
        "id_two": (ok + '{"id": 6, "id_hex": "61", "vector": [1, 2, 3]}\n', "line 2 has more than one of"),
        "id_u64": (ok + '{"id_u64": "18446744073709551616", "vector": [1, 2, 3]}\n', "line 2 has an \"id_u64\""),
        "id_hex": ('{"id_hex": "61f", "vector": [1, 2, 3]}\n', "line 1 has an \"id_hex\""),
        "expiry": (ok + '{"id": 6, "vector": [1, 2, 3], "expiry_ns": 1.5}\n', "line 2 has an \"expiry_ns\""),
        "document_hex": (ok + '{"id": 6, "vector": [1, 2, 3], "document_hex": "0g"}\n',
                         "line 2 has a \"document_hex\""),
        "document_text": (ok + '{"id": 6, "vector": [1, 2, 3], "document_text": {}}\n',
                          "line 2 has a \"document_text\""),
        "document_and": (ok + '{"id": 6, "vector": [1, 2, 3], "document_text": "", "x": 1}\n', "and other keys"),
        "id_kind": (ok + '{"id": "a", "vector": [1, 2, 3]}\n', "line 2 has an \"id\" of another kind"),
        "id_empty": ('{"id": "", "vector": [1, 2, 3]}\n', "0 bytes"),
        "id_long": ('{"id": "%s", "vector": [1, 2, 3]}\n' % ("x" * 513), "513 bytes"),
        "id_million": ('{"id": "%s", "vector": [1, 2, 3]}\n' % ("x" * 10**6), "1000000 bytes"),
        "id_string": ('{"id": "a", "vector": [1, 2, 3]}\n', "has ids that are numbers"),
        "dup": (ok + '{"id": 6, "vector": [1, 2, 3]}\n\n' + ok, ["POMAI_EDUPID", "line 1, and again in line 4"]),
        "dup_key": (ok + '{"id": 6, "id": 7, "vector": [1, 2, 3]}\n', "line 2"),
        "both": (ok + '{"id": 6, "vector": [1, 2, 3], "metadata": {}, "x": 1}\n', "metadata"),
        "meta": (ok + '{"id": 6, "vector": [1, 2, 3], "metadata": 5}\n', "metadata"),
        "deep": (ok + '{"id": 6, "vector": [1, 2, 3], "x": ' + "[" * 100000 + "]" * 100000 + "}\n", "line 2"),
        "deep_objects": (ok + '{"x":' * 100000 + "\n", "line 2"),
        "utf8": ((ok + '{"id": 6, "vector": [1, 2, 3], "x": "').encode() + b'\xff\xfe"}\n', "line 2"),
        "nul": (b"\0" * 1000, "line 1"),
        "trailing": (ok + '{"id": 6, "vector": [1, 2, 3]} x\n', "line 2"),
        "long": (ok + '{"id": 6, "x": "' + "y" * 9_000_000 + '"}\n', "line 2 is longer than 8388608 bytes"),
        "empty": (b"", "no rows"),
        "blank": ("\n\n \n", "no rows"),
    }
    for name, (data, says) in bad.items():
        path = write(f"{name}.jsonl", data)
        nothing_stored("x.db", path, says=says)
        if name in ("id_string",):
            continue
        nothing_stored("new.db", path)
        if name == "dup":  # found by the engine, so by a database
            shutil.rmtree("new.db")
        expect(not os.path.exists("new.db"), f"{name} made a database")
    jsonl("str.jsonl", [{"id": "a", "vector": [1, 2]}, {"id": "b", "vector": [1, 2]}, {"id": "a", "vector": [1, 2]}])
    nothing_stored("str.db", "str.jsonl", says=["POMAI_EDUPID", "line 1, and again in line 3"])
    jsonl("str.jsonl", [{"id": "a", "vector": [1, 2]}])
    pomai("import", "str.db", "str.jsonl")
    nothing_stored("str.db", jsonl("none.jsonl", [{"vector": [1, 2]}]), says="string ids")
    nothing_stored("str.db", npy("v.npy", vectors(2, 2)), says="string ids")
    same_rows("x.db", [1, 2], [[1, 2, 3], [4, 5, 6]])


def case_ids_files():
    rows = vectors(6, 3)
    npy("x.npy", rows)
    top = 2**64 - 2
    for descr, code, ids in (("<u8", "Q", [5, 4, 3, 2, 1, top]), ("<i8", "q", [5, 4, 3, 2, 1, 0]),
                             ("<u4", "I", [9, 8, 7, 6, 5, 4]), ("<i4", "i", [9, 8, 7, 6, 5, 1]),
                             ("|u1", "B", [255, 8, 7, 6, 5, 1])):
        write("ids.npy", npy_bytes("(6,)", struct.pack(f"<6{code}", *ids), descr=descr))
        db = "n" + descr[1:] + ".db"
        pomai("import", db, "x.npy", "--ids", "ids.npy", "--batch", 4)
        same_rows(db, ids, rows)
    write("ids.txt", "one\ntwo\r\n3\nfour\n5\nsix")
    pomai("import", "s.db", "x.npy", "--ids", "ids.txt")
    same_rows("s.db", ["one", "two", "3", "four", "5", "six"], rows)
    write("num.txt", "1\n2\n3\n4\n5\n18446744073709551614\n")
    pomai("import", "t.db", "x.npy", "--ids", "num.txt")
    same_rows("t.db", [1, 2, 3, 4, 5, top], rows)
    pomai("import", "s.db", "x.npy", "--ids", "num.txt")
    same_rows("s.db", ["1", "5", str(top)], [rows[0], rows[4], rows[5]])
    db = "t.db"
    nothing_stored(db, "x.npy", "--ids", "ids.txt", says=["ids.txt line 1", "'one'"])
    nothing_stored("new.db", "x.npy", "--ids", write("mixed.txt", "1\n2\nx\n4\n5\n6\n"), says=["mixed.txt line 3"])
    nothing_stored(db, "x.npy", "--ids", write("few.txt", "1\n2\n"), says="only 2 ids")
    nothing_stored(db, "x.npy", "--ids", write("many.txt", "1\n2\n3\n4\n5\n6\n7\n"), says="more than the 6 ids")
    nothing_stored(db, "x.npy", "--ids", write("gap.txt", "1\n\n3\n4\n5\n6\n"), says="line 2 is an id of 0 bytes")
    nothing_stored(db, "x.npy", "--ids", write("long.txt", "1" * 513 + "\n"), says="513 bytes")
    nothing_stored(db, "x.npy", "--ids", write("dup.txt", "1\n2\n3\n2\n5\n6\n"), says=["POMAI_EDUPID", "row 1 ", "row 3 "])
    nothing_stored(db, "x.npy", "--ids", write("n5.npy", npy_bytes("(5,)", bytes(40), descr="<u8")), says="5 ids")
    nothing_stored(db, "x.npy", "--ids", write("f.npy", npy_bytes("(6,)", bytes(24))), says="floats")
    nothing_stored(db, "x.npy", "--ids", write("a2.npy", npy_bytes((6, 1), bytes(48), descr="<u8")), says="2 axes")
    nothing_stored(db, "x.npy", "--ids", write("neg.npy", npy_bytes("(6,)", struct.pack("<6q", 1, 2, -3, 4, 5, 6),
                                                                  descr="<i8")), says="id 2 is negative")
    nothing_stored(db, "x.npy", "--ids", "missing.txt", says="missing.txt")
    jsonl("x.jsonl", [{"id": 1, "vector": [1, 2, 3]}])
    nothing_stored(db, "x.jsonl", "--ids", "rows", says="--ids gives others")
    # A header that promises more ids than are there, where neither rows nor bytes are known beforehand.
    jsonl("y.jsonl", [{"vector": row} for row in rows])
    short = npy_bytes("(9,)", struct.pack("<6Q", *range(6)), descr="<u8")
    nothing_stored(db, "y.jsonl", "--ids", write("short.npy.gz", gzip.compress(short)), says="more than the 6 ids")
    nothing_stored(db, "y.jsonl", "--ids", "-", stdin=short, says="more than the 6 ids")


def case_other_files():
    npy("good.npy", vectors(3, 3))
    pomai("import", "x.db", "good.npy")
    nothing_stored("x.db", "missing.npy", says=["missing.npy", "No such file"])
    os.mkdir("dir.npy")
    nothing_stored("x.db", "dir.npy", says="is a directory")
    nothing_stored("x.db", ".", says=". is a directory; give a file")
    nothing_stored("x.db", "good.npy", "--format", "idx", says="idx magic")
    nothing_stored("x.db", "good.npy", "--format", "fvecs", says="dimensions")
    nothing_stored("x.db", "good.npy", "--format", "jsonl", says="line 1")
    nothing_stored("x.db", write("a\x1b[2J\nb.npy", b"xx"))
    with open("pipe.npy", "wb"):
        pass
    os.unlink("pipe.npy")
    os.mkfifo("pipe.npy")
    with subprocess.Popen(["cp", "good.npy", "pipe.npy"]):
        pomai("import", "x.db", "pipe.npy")
    expect(counts("x.db") == {"default": 6}, "through a pipe")


def case_wrong_format():
    rows = [[1.0, 2.0]] * 3
    files = {
        "npy": npy_bytes((3, 2), flat(rows)),
        "fvecs": fvecs_bytes(rows),
        "bvecs": bvecs_bytes([[1, 2]] * 3),
        "csv": csv_bytes(rows, "a,b"),
        "jsonl": b'{"id": 1, "vector": [1, 2]}\n',
        "idx": idx_bytes([bytes(2)] * 3, 1, 2),
    }
    for name, data in [*files.items(), ("csv", b"1,2\n3,4\n"), ("csv", b"1,2\n")]:
        for other in files:
            if other != name:
                nothing_stored("x.db", write("x." + name, data), "--format", other, says=["x." + name, "--format"])
                hint = "standard input" if {name, other} == {"fvecs", "bvecs"} else "--format"  # cut short, or wrong?
                nothing_stored("x.db", "-", "--format", other, stdin=gzip.compress(data), says=hint)
    expect(not os.path.exists("x.db"), "a database was made")


def finite_vectors(rows, dim):
    """Floats of every exponent, below the normal ones too, and both zeros."""
    words = [RANDOM.getrandbits(32) for _ in range(rows * dim)]
    words[:3] = [0x80000000, 1, 0x7f7fffff]
    words = [w & 0xff7fffff if w >> 23 & 255 == 255 else w for w in words]
    numbers = struct.unpack(f"<{rows * dim}f", struct.pack(f"<{rows * dim}I", *words))
    return [list(numbers[i * dim:(i + 1) * dim]) for i in range(rows)]


def exported(db, *words):
    pomai("export", db, "--output", "out.jsonl", "--quiet", *words)
    lines = open("out.jsonl", encoding="utf-8", newline="\n").read().split("\n")
    expect(lines.pop() == "", "no line feed at the end")
    expect(sorted(lines) == sorted(pomai("export", db, *words).out.split("\n")[:-1]), "file and stdout differ")
    expect(not os.path.exists("out.jsonl.unfinished"), "a leftover")
    return sorted(lines)


def case_export_reads_back():
    far = 4 * 10**18
    numbers = [{"id": i * 37, "vector": v, "metadata": {"n": i, "ü": [1.5, None, "\u2028"]}}
               for i, v in enumerate(finite_vectors(3000, 7))]
    numbers += [{"id_u64": str(2**64 - 1 - i), "vector": v} for i, v in enumerate(finite_vectors(3, 7))]
    numbers += [{"id": 2**63 - 1, "vector": [1, 2, 3, 4, 5, 6, 255], "expiry_ns": far},
                {"id": 5, "vector": [1e-45] * 7, "expiry_ns": str(2**64 - 1), "document_text": "{ \"a\":1 }\0"},
                {"id": 6, "vector": [0.1] * 7, "document_text": "[1]"},
                {"id": 7, "vector": [0.1] * 7, "document_hex": "ff00fe"},
                {"id": 8, "vector": [0.1] * 7, "metadata": {}}]
    strings = [{"id": "ü\u0000\n", "vector": [1.5, -2.25], "document_text": "\"text\""},
               {"id_hex": "fffe00", "vector": [3, 4], "metadata": {"a": {}}}, {"id": "7", "vector": [5, 6]}]
    # As deep as a line may be, which is read to 2,048 levels with the number, and a level more.
    deep = ['{"a":%s1%s}' % ("[" * n, "]" * n) for n in (2045, 2046, 2048)]
    with open("deep.jsonl", "w") as file:
        for i, text in enumerate(deep):
            file.write('{"id": %d, "vector": [1], "document_text": %s}\n' % (i, json.dumps(text)))
    pomai("import", "a.db", "deep.jsonl", "-c", "deep")
    lines = exported("a.db", "-c", "deep")
    expect(["metadata" in line for line in lines] == [True, False, False], "deep documents")
    pomai("import", "b.db", "out.jsonl", "-c", "deep")
    expect(exported("b.db", "-c", "deep") == lines, "the second export of deep documents differs")
    for name, objects in (("numbers", numbers), ("strings", strings)):
        jsonl("in.jsonl", objects)
        pomai("import", "a.db", "in.jsonl", "-c", name)
        lines = exported("a.db", "-c", name)
        found = {line.get("id", line.get("id_u64", line.get("id_hex"))): line for line in map(json.loads, lines)}
        for wanted in objects:
            line = found[wanted.get("id", wanted.get("id_u64", wanted.get("id_hex")))]
            floats = [struct.pack("<f", x) for x in line.pop("vector")]
            expect(floats == [struct.pack("<f", x) for x in wanted.pop("vector")], f"vector of {wanted}")
            expect(line == wanted, f"wrote {line} for {wanted}")
        expect(len(found) == len(objects) == len(lines), "rows")
        pomai("import", "b.db", "out.jsonl", "-c", name)
        expect(exported("b.db", "-c", name) == lines, "the second export differs")


def case_export():
    npy("x.npy", vectors(50, 3))
    refused("export", "x.db", says="POMAI_ENOTFOUND")
    pomai("import", "x.db", "x.npy", "--ids", "rows")
    refused("export", "x.db", "-c", "none", "-o", "f.jsonl", says="POMAI_ENOTFOUND")
    expect(not os.path.exists("f.jsonl"), "a file of nothing")
    refused("export", "x.db", "-o", "none/f.jsonl", says="none/f.jsonl")
    got = pomai("export", "x.db", "-o", "f.jsonl", "--json").json()[0]
    expect(got["ok"] and got["rows"] == 50 and got["bytes"] == os.path.getsize("f.jsonl"), f"{got}")
    expect("exported 50 rows" in pomai("export", "x.db", "-o", "f.jsonl").out, "over itself")
    if os.path.exists("/dev/full"):
        refused("export", "x.db", "-o", "/dev/full", says="/dev/full")
    # Rows of a collection with a time to live say when they expire, or that they do not.
    objects = [{"id": 1, "vector": [1], "expiry_ns": 0}, {"id": 2, "vector": [2], "expiry_ns": 4 * 10**18}]
    pomai("import", "t.db", jsonl("t.jsonl", objects), "--ttl", "1d")
    expect(sorted(map(json.loads, exported("t.db")), key=lambda o: o["id"]) == objects, "expiry")
    refused("import", "t.db", jsonl("u.jsonl", objects + [{"id": 3, "vector": [3]}]), says="expiry_ns")
    flip = next(os.path.join(at, "vectors.arrow") for at, _, names in os.walk("x.db") if "vectors.arrow" in names)
    with open(flip, "r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    whole = open("f.jsonl", "rb").read()
    refused("export", "x.db", "-o", "f.jsonl", says="POMAI_ECORRUPT")
    expect(open("f.jsonl", "rb").read() == whole and not os.path.exists("f.jsonl.unfinished"), "the file before stays")


def case_mutated_files():
    """Random damage to files of every format: refused or imported, never a crash, never a half batch."""
    rows = vectors(12, 5)
    files = {
        "m.npy": npy_bytes((12, 5), flat(rows)),
        "m2.npy": npy_bytes((12, 5), flat(rows, "d"), descr="<f8", version=2),
        "m.fvecs": fvecs_bytes(rows),
        "m.bvecs": bvecs_bytes([range(i, i + 5) for i in range(12)]),
        "m.csv": csv_bytes(rows, "a,b,c,d,e"),
        "m2.csv": "".join(["id,t,vector\n"] + [f'{i},"a ""b""\n",{json.dumps(json.dumps(row))}\n'
                                               for i, row in enumerate(rows)]).encode(),
        "m.jsonl": "".join(json.dumps({"id": i, "vector": [round(x, 3) for x in row], "t": [i, {"a": "b"}]}) + "\n"
                           for i, row in enumerate(rows)).encode(),
        "m.idx": idx_bytes([bytes(range(i, i + 6)) for i in range(12)], 2, 3),
    }
    for name, data in list(files.items()):
        files[name + ".gz"] = gzip.compress(data)
    for name, data in files.items():
        for turn in range(40):
            bad = bytearray(data)
            for _ in range(RANDOM.choice([1, 1, 2, 8])):
                at = RANDOM.randrange(len(bad))
                kind = RANDOM.randrange(5)
                if kind == 0:
                    bad[at] ^= 1 << RANDOM.randrange(8)
                elif kind == 1:
                    bad[at] = RANDOM.choice([0, 1, 0x7f, 0x80, 0xff])
                elif kind == 2:
                    del bad[at:at + RANDOM.randrange(1, 20)]
                elif kind == 3:
                    bad[at:at] = bytes(RANDOM.randrange(256) for _ in range(RANDOM.randrange(1, 20)))
                else:
                    bad[min(at, 24):min(at, 24) + 4] = struct.pack("<I", RANDOM.choice([0, 2**31, 2**32 - 1, 2**16]))
                if not bad:
                    bad = bytearray(b"x")
            write(name, bytes(bad))
            process = subprocess.run([PROGRAM, "import", "m.db", name, "--json", "-q"], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, timeout=60)
            expect(process.returncode in (0, 1), f"{name} turn {turn}: {process} {bytes(bad)!r}"[:3000])
            expect(process.returncode == 0 or b"pomai: " in process.stderr, f"{name} turn {turn}: {process}")
            if process.returncode == 0:
                shutil.rmtree("m.db")
            else:
                stored = sum(counts("m.db").values())
                expect(stored == 0, f"{name} turn {turn}: {stored} rows of one refused batch are there: {process}")


# ---- types of vectors ----

def half(value):
    return struct.unpack("<e", struct.pack("<e", value))[0]


def stored(db):
    """Of the rows 0 to 39; JSON has the shortest digits of a float32."""
    return [[struct.unpack("<f", struct.pack("<f", x))[0] for x in get(db, i)[0]["vector"]] for i in range(40)]


def case_types_of_vectors():
    rows = vectors(40, 5)
    halves = [[half(x) for x in row] for row in rows]
    whole = [[RANDOM.randrange(-128, 128) for _ in range(5)] for _ in range(40)]
    files = {"f2": ("<f2", "e", halves, "float16"), "i1": ("|i1", "b", whole, "int8"), "f4": ("<f4", "f", rows, "float32")}
    for name, (descr, code, values, dtype) in files.items():
        data = b"".join(struct.pack(f"<5{code}", *row) for row in values)
        write(f"{name}.npy", npy_bytes((40, 5), data, descr=descr))
        outcome = pomai("import", f"{name}.db", f"{name}.npy", "--dtype", dtype, "--ids", "rows")
        expect("converted" not in outcome.err, f"a note of nothing: {outcome}")
        listed = pomai("collections", f"{name}.db", "--json").json()[0]
        expect(listed["dtype"] == dtype and listed["rows"] == 40, f"{listed}")
        expect(dtype in pomai("collections", f"{name}.db").out, "collections as text")
        stats = json.loads(pomai("stats", f"{name}.db", "--json").out)["collections"][0]
        expect(stats["dtype"] == dtype and stats["vector_bytes"] == len(data), f"{stats}")
        expect(stored(f"{name}.db") == values, f"{name} reads back")
        lines = exported(f"{name}.db")
        again = pomai("import", f"{name}2.db", jsonl("again.jsonl", map(json.loads, lines)), "--dtype", dtype)
        expect("imported 40 rows" in again.out and sorted(exported(f"{name}2.db")) == sorted(lines), "export")
        expect(pomai("verify", f"{name}.db").code == 0, "verify")
        q = [half(RANDOM.uniform(-9, 9)) for _ in range(5)]
        hits = pomai("search", f"{name}.db", "--vector", json.dumps(q), "-k", 9, "--json").json()[0]["hits"]
        truth = sorted((distance("l2", q, row), i) for i, row in enumerate(values))[:9]
        expect([h["id"] for h in hits] == [i for _, i in truth], f"{hits} {truth}")
    # Float32 into the others: rounded, or refused with its place.
    pomai("import", "r.db", "f4.npy", "--dtype", "float16", "--ids", "rows")
    expect(stored("r.db") == halves, "rounded to the nearest")
    nothing_stored("w.db", "f4.npy", "--dtype", "int8", says=["f4.npy, row 0", "dimension 0", "quantise", "POMAI_EINVAL"])
    rows[3][2] = 65520.0
    npy("far.npy", rows)
    nothing_stored("v.db", "far.npy", "--dtype", "float16", says=["far.npy, row 3", "dimension 2 is 65520", "65504"])
    nothing_stored("r.db", "f4.npy", "--dtype", "int8", says=["has float16 vectors"])
    made = pomai("create", "c.db", "--dim", 3, "--dtype", "int8", "--json").json()[0]
    expect(made["dtype"] == "int8", f"{made}")
    expect("int8" in pomai("create", "c.db", "-c", "d", "--dim", 3, "--dtype", "int8").out, "create as text")
    for words in (["create", "c.db", "-c", "e", "--dim", "3"], ["import", "c.db", "f4.npy"]):
        outcome = pomai(*words, "--dtype", "bfloat16", code=2)
        expect("float32|float16|int8" in outcome.err, f"{outcome}")
    refused("create", "c.db", "--dtype", "int8", says="--dim", code=2)


def case_clusters() -> None:
    made = pomai("create", "k.db", "-c", "a", "--dim", 3, "--cluster-by", "owner.id", "--json").json()[0]
    expect(made["cluster_by"] == "owner.id", f"{made}")
    expect("clustered by n" in pomai("create", "k.db", "-c", "b", "--dim", 3, "--cluster-by", "n").out, "create as text")
    pomai("create", "k.db", "-c", "c", "--dim", 3)
    listed = pomai("collections", "k.db", "--json").json()
    expect([c.get("cluster_by") for c in listed] == ["owner.id", "n", None], f"{listed}")
    expect(pomai("collections", "k.db").out.count("clustered by") == 2, "collections as text")
    refused("create", "k.db", "-c", "d", "--dim", 3, "--cluster-by", "$and", says="cluster_by")
    refused("create", "k.db", "--cluster-by", "n", says="--dim", code=2)
    with open("rows.jsonl", "w") as file:
        for i in range(30):
            print(json.dumps({"id": i, "vector": [i, 0, 0], "n": i % 3}), file=file)
    pomai("import", "k.db", "rows.jsonl", "-c", "b")
    pomai("flush", "k.db")
    ids = [json.loads(line)["id"] for line in pomai("export", "k.db", "-c", "b").out.splitlines()]
    expect(ids == sorted(range(30), key=lambda i: (i % 3, i)), f"one value after the other: {ids}")
    pomai("import", "i.db", "rows.jsonl", "--cluster-by", "n", "--index", "exact")
    for same in ([], ["--cluster-by", "n"], ["--index", "exact"]):
        pomai("import", "i.db", "rows.jsonl", *same)
    listed = pomai("collections", "i.db", "--json").json()[0]
    expect((listed["cluster_by"], listed["index"], listed["rows"]) == ("n", "exact", 30), f"{listed}")
    refused("import", "i.db", "rows.jsonl", "--cluster-by", "m", says="is clustered by n; leave --cluster-by out")
    refused("import", "i.db", "rows.jsonl", "--index", "graph", says="has the index exact; leave --index out")
    refused("import", "k.db", "rows.jsonl", "-c", "c", "--cluster-by", "n", says="is not clustered")
    refused("import", "new.db", "rows.jsonl", "--index", "tree", says="auto|exact|codes|graph", code=2)
    expect(not os.path.exists("new.db"), "an index that there is not makes no database")


# ---- search, get, delete ----

def distance(metric, a, b):
    dot = sum(x * y for x, y in zip(a, b))
    if metric == "l2":
        return sum((x - y) ** 2 for x, y in zip(a, b))
    if metric == "ip":
        return 1 - dot
    return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def case_search_against_brute_force():
    rows, queries = vectors(300, 8), vectors(25, 8)
    npy("x.npy", rows)
    npy("q.npy", queries)
    write("q.fvecs", fvecs_bytes(queries))
    jsonl("q.jsonl", [{"vector": q} for q in queries])
    for metric in ("l2", "ip", "cosine"):
        db = metric + ".db"
        pomai("import", db, "x.npy", "--metric", metric, "--ids", "rows")
        truth = [sorted((distance(metric, q, row), i) for i, row in enumerate(rows))[:7] for q in queries]
        for file in ("q.npy", "q.fvecs", "q.jsonl"):
            for batch in (1000, 1, 10):
                answers = pomai("search", db, "--queries", file, "-k", 7, "--json", "-b", batch).json()
                expect([a["query"] for a in answers] == list(range(25)), "query numbers")
                for answer, best in zip(answers, truth):
                    hits = answer["hits"]
                    expect([h["id"] for h in hits] == [i for _, i in best], f"{metric}: {hits} {best}")
                    expect(all(abs(h["distance"] - d) < 1e-9 for h, (d, _) in zip(hits, best)), f"{hits} {best}")
                    expect(answer["verdict"] == {"completeness": "exact", "fewer": "no", "expected_recall": 1,
                                                 "rows_scanned": 300, "rows_visible": 300}, f"{answer}")
        write("truth.ivecs", b"".join(struct.pack("<i7i", 7, *(i for _, i in t)) for t in truth[:10]))
        got = pomai("search", db, "--queries", "q.npy", "-k", 7, "-q", "--json", "--truth", "truth.ivecs").json()[0]
        expect(got["recall"] == 1 and got["recall_queries"] == 10 and got["queries"] == 25, f"{got}")
        got = pomai("search", db, "--queries", "q.npy", "-k", 7, "--limit", 5, "--skip", 20, "-q", "--json", "-t", 1)
        expect(got.json()[0]["queries"] == 5, f"{got}")
    write("wrong.ivecs", b"".join(struct.pack("<i7i", 7, *range(1000, 1007)) for _ in range(25)))
    got = pomai("search", "l2.db", "--queries", "q.npy", "-k", 7, "-q", "--json", "--truth", "wrong.ivecs").json()[0]
    expect(got["recall"] == 0, f"{got}")
    for name, data in (("cut", struct.pack("<i3i", 7, 1, 2, 3)), ("neg", struct.pack("<i", -1)), ("two", b"ab"),
                       ("few", struct.pack("<i3i", 3, 1, 2, 3))):
        refused("search", "l2.db", "--queries", "q.npy", "-k", 7, "--truth", write(name, data), says=name)


def case_search_text_and_verdict():
    jsonl("x.jsonl", [{"id": i, "vector": [i, 0], "name": f"row {i}"} for i in range(1, 5)])
    pomai("import", "x.db", "x.jsonl")
    out = pomai("search", "x.db", "--vector", "[1, 0]", "-k", 3, "--documents").out
    expect("query 0: 3 found, exact (4 of 4 rows compared)\n" in out and 'row 2' in out, out)
    out = pomai("search", "x.db", "-v", "[1, 0]", "-k10").out
    expect("4 found" in out and "no more rows" in out, out)
    answer = pomai("search", "x.db", "-v[2, 0]", "-k", 10, "--json", "--documents").json()[0]
    expect(answer["verdict"]["fewer"] == "rows" and answer["hits"][0] ==
           {"distance": 0, "id": 2, "document": {"name": "row 2"}}, f"{answer}")
    expect("queries/s" in pomai("search", "x.db", "-v", "[1, 0]", "--quiet").out, "--quiet")
    got = pomai("search", "x.db", "-v", "[1,0]", "--deadline-ms", "60000.5", "--json").json()[0]
    expect(got["verdict"]["completeness"] == "exact", f"{got}")
    cut = pomai("search", "x.db", "-v", "[1,0]", "--deadline-ms", "0", "--json").json()[0]
    expect(cut["verdict"]["completeness"] in ("exact", "cut"), f"{cut}")
    some = '{"name": {"$in": ["row 3", "row 4"]}}'
    where = pomai("search", "x.db", "-v", "[1, 0]", "--json", "--where", some).json()[0]
    expect([h["id"] for h in where["hits"]] == [3, 4] and where["verdict"]["rows_visible"] == 2 and
           where["verdict"]["fewer"] == "rows", f"{where}")
    expect("1 found" in pomai("search", "x.db", "-v", "[1, 0]", '-w{"name": "row 4"}').out, "-w")
    refused("search", "x.db", "-v", "[1, 0]", "--where", '{"name": {"$like": 1}}', says="filter: name.$like")
    plan = pomai("search", "x.db", "-v", "[1, 0]", "--json", "--explain", "--where", some).json()[-1]["plan"]
    expect(plan["queries"] == 1 and plan["matches"] == where["verdict"]["rows_visible"], "--explain")
    expect(all(part["way"] in ("vectors of matches", "nothing") for part in plan["sources"]), "ways of --explain")
    refused("search", "x.db", "-v", "[1, 0]", "--where", "", says="filter")
    refused("search", "x.db", "--vector", "[1, 2, 3]", says="POMAI_EDIM")
    refused("search", "x.db", "--vector", "[1, 1e300]", says="float32")
    refused("search", "x.db", "--vector", "[1, null]", says="no number")
    for text in ("", "1", "[1", "{}", "[1,2] 3", "[" * 5000):
        refused("search", "x.db", "--vector", text, code=2, says="JSON array")
    refused("search", "x.db", "--vector", "[]", says="POMAI_")
    refused("search", "x.db", "--vector", "[1, 2]", "-c", "none", says="POMAI_ENOTFOUND")
    nan = vectors(5, 2)
    nan[3][0] = math.nan
    refused("search", "x.db", "--queries", npy("nan.npy", nan), says=["POMAI_ENOTFINITE", "nan.npy"])
    refused("search", "x.db", "--queries", npy("dim.npy", vectors(5, 3)), says=["POMAI_EDIM"])
    refused("search", "x.db", "--queries", write("none.npy", npy_bytes((0, 2), b"")), says="no rows")
    expect(counts("x.db") == {"default": 4}, "a search changed rows")


def case_get_and_delete():
    rows = vectors(10, 4)
    npy("x.npy", rows)
    pomai("import", "x.db", "x.npy", "--ids", "rows")
    outcome = pomai("get", "x.db", 3, 77, "--json", code=1)
    found = outcome.json()
    expect([f["found"] for f in found] == [True, False] and found[1]["id"] == 77, f"{found}")
    expect("not found" in pomai("get", "x.db", 77, code=1).out, "not found")
    expect("stamp" in pomai("get", "x.db", 3).out, "as text")
    for bad in ("abc", "1.5", "+1", "", "99999999999999999999", " 1"):
        expect("u64" in pomai("get", "x.db", bad, code=1).err, f"id {bad!r}")
    refused("get", "x.db", "-1", code=2, says="-1")
    expect("u64" in pomai("get", "x.db", "--", "-1", code=1).err, "id -1")
    got = pomai("delete", "x.db", 3, 77, 4, "--json").json()[0]
    expect(got["asked"] == 3 and got["deleted"] == 2, f"{got}")
    expect(counts("x.db") == {"default": 8}, "rows after delete")
    get("x.db", 3, code=1)
    expect(pomai("delete", "x.db", 3).out == "deleted 0 of 1\n", "again")
    refused("delete", "x.db", "abc", says="abc")
    hits = pomai("search", "x.db", "--vector", json.dumps(rows[3]), "-k", 10, "--json").json()[0]["hits"]
    expect(sorted(h["id"] for h in hits) == [0, 1, 2, 5, 6, 7, 8, 9], f"{hits}")
    pomai("import", "x.db", "x.npy", "--ids", "rows")
    expect(counts("x.db") == {"default": 10}, "upsert")
    same_rows("x.db", list(range(10)), rows)
    jsonl("s.jsonl", [{"id": "-x", "vector": [1, 2]}])
    pomai("import", "s.db", "s.jsonl")
    expect(pomai("delete", "s.db", "--", "-x").out == "deleted 1 of 1\n", "an id with a dash")


# ---- stats, verify, dump-wal ----

def case_by_what_documents_say():
    rows = [{"id": i, "vector": [i, 1], "metadata": {"n": i, "s": "\u00e9"}} for i in range(20)]
    pomai("import", "x.db", jsonl("x.jsonl", rows))
    low = '{"n": {"$lt": 5}}'
    expect(pomai("count", "x.db").out == "20\n", "count")
    expect(pomai("count", "x.db", "--where", low, "--json").json() == [{"ok": True, "rows": 5}], "count --where")
    found = pomai("get", "x.db", "--where", low, "--json").json()
    expect(sorted(r["id"] for r in found) == [0, 1, 2, 3, 4] and all(r["found"] for r in found), f"{found}")
    expect(found[0]["vector"] == [found[0]["id"], 1] and found[0]["document"]["s"] == "\u00e9", f"{found}")
    expect(len(pomai("get", "x.db", "--where", low, "--limit", "2", "--json").json()) == 2, "get --limit")
    expect(len(pomai("get", "x.db", "--all", "--json").json()) == 20, "get --all")
    expect(pomai("get", "x.db", "--where", low, "--limit", "1").out.startswith("id  "), "get --where as text")
    expect(pomai("get", "x.db", "--where", '{"n": 99}').out == "", "get of nothing")
    pomai("export", "x.db", "--where", low, "--output", "low.jsonl")
    with open("low.jsonl") as file:
        lines = [json.loads(line) for line in file]
    expect(sorted(line["id"] for line in lines) == [0, 1, 2, 3, 4], f"{lines}")
    updated = pomai("update", "x.db", "--where", low, "--set", '{"cheap": true, "s": null}', "--json").json()[0]
    expect(updated["updated"] == 5 and updated["durability"] == "sync" and "asked" not in updated, f"{updated}")
    row = get("x.db", "3")[0]
    expect(row["document"] == {"n": 3, "cheap": True} and row["vector"] == [3, 1], f"{row}")
    expect(pomai("update", "x.db", "3", "77", "--set", '{"n": 30}').out == "updated 1 of 2\n", "update by id")
    expect(pomai("update", "x.db", "4", "--document", "plain").out == "updated 1 of 1\n", "update --document")
    expect([get("x.db", i)[0]["document"] for i in "34"] == [{"n": 30, "cheap": True}, "plain"], "documents")
    refused("update", "x.db", "3", "4", "--set", '{"a": 1}', says="row with id 4 is no JSON object")
    refused("update", "x.db", "3", "--set", "[1]", says="no JSON object")
    refused("count", "x.db", "--where", '{"n": {"$like": 1}}', says="filter: n.$like")
    refused("delete", "x.db", "--where", '{"n": {"$like": 1}}', says="filter: n.$like")
    refused("delete", "x.db", "--where", "{}", code=2, says="--all")
    expect(pomai("delete", "x.db", "--where", '{"n": {"$gte": 10}}').out == "deleted 11\n", "delete --where")
    expect(counts("x.db") == {"default": 9}, "rows are left")
    expect(pomai("delete", "x.db", "--all", "--json").json()[0]["deleted"] == 9, "delete --all")
    expect(pomai("count", "x.db").out == "0\n", "count of nothing")


def case_inspecting():
    npy("x.npy", vectors(100, 4))
    pomai("import", "x.db", "x.npy", "--batch", 25)
    stats = json.loads(pomai("stats", "x.db", "--json").out)
    expect(isinstance(stats, dict) and stats, f"{stats}")
    text = pomai("stats", "x.db").out
    for key in stats:
        expect(key in text, f"{key} is not in the readable stats")
    deleted = [hit["id"] for hit in pomai("search", "x.db", "-v", "[1,2,3,4]", "--json").json()[0]["hits"]]
    pomai("delete", "x.db", *deleted)
    verified = pomai("verify", "x.db").out
    lines = [line.split() for line in verified.splitlines()]
    expect("no damage found" in verified and ["rows", "90"] in lines and ["segment_rows", "100"] in lines, verified)
    expect(pomai("verify", "x.db", "--json").json()[0]["rows"] == 90, "verify --json")
    for text in (verified, pomai("stats", "x.db").out):
        expect(not any(line.split() == ["notes"] for line in text.splitlines()), f"an empty line of notes: {text}")
    lines = [line.split() for line in pomai("stats", "x.db").out.splitlines()]
    expect(["segment_rows", "100"] in lines and ["rows", "90"] in lines, f"{lines}")
    json.loads(pomai("verify", "x.db", "--json").out)
    expect(pomai("verify", "x.db", "-q").out == "", "verify --quiet")
    lines = pomai("dump-wal", "x.db").out.splitlines()
    objects = pomai("dump-wal", "x.db", "--json").json()
    expect(len(lines) == len(objects), f"{lines} {objects}") # a clean close leaves nothing in the log
    before = {path: open(path, "rb").read() for path in files_of("x.db")}
    for words in (["stats", "x.db"], ["verify", "x.db"], ["dump-wal", "x.db"], ["collections", "x.db"],
                  ["dump-segment", "x.db"], ["dump-manifest", "x.db"], ["digest", "x.db"],
                  ["get", "x.db", "99999"], ["search", "x.db", "--vector", "[1,2,3,4]"]):
        pomai(*words, code=1 if words[0] == "get" else 0)
        expect({path: open(path, "rb").read() for path in files_of("x.db")} == before, f"{words} changed a file")


def files_of(directory):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(directory) for name in names)


def flip(path, at):
    data = bytearray(open(path, "rb").read())
    data[at] ^= 0xff
    return write(path, bytes(data))


def case_damage_is_reported():
    npy("x.npy", vectors(3000, 4))
    pomai("import", "x.db", "x.npy", "--batch", 100, "--shards", 1)
    path = [path for path in files_of("x.db") if path.endswith("vectors.arrow")][0]
    whole = open(path, "rb").read()
    flip(path, len(whole) - 12000)
    damaged = open(path, "rb").read()
    refused("verify", "x.db", says="POMAI_ECORRUPT", code=1)
    report = json.loads(refused("verify", "x.db", "--json", says="POMAI_ECORRUPT").out)
    expect("rows" not in report and "vectors.arrow" in report["problems"][0]["message"], f"{report}")
    refused("search", "x.db", "--vector", "[1,2,3,4]", says="POMAI_ECORRUPT")
    refused("get", "x.db", 2900, says="POMAI_ECORRUPT")
    refused("digest", "x.db", says="POMAI_ECORRUPT")
    pomai("dump-segment", "x.db")
    expect(open(path, "rb").read() == damaged, "a damaged segment was changed")
    outcome = refused("salvage", "x.db", "y.db", "--json", says="y.db has what is intact of x.db")
    report = json.loads(outcome.out)
    lost = report["lost"]
    expect(len(lost) == 1 and lost[0]["what"] == "vectors" and lost[0]["rows"] + report["rows"] == 3000, f"{report}")
    expect(len(lost[0]["ids"]) + lost[0]["ids_left_out"] == lost[0]["rows"], f"{lost}")
    expect(counts("y.db") == {"default": report["rows"]}, "rows of what was salvaged")
    expect(all(not row["found"] for row in get("y.db", *lost[0]["ids"][:50], code=1)), "a lost row is there")
    expect(open(path, "rb").read() == damaged, "salvage changed what it read")
    os.remove(path)
    refused("verify", "x.db", says="vectors.arrow is missing")
    refused("stats", "x.db", says="POMAI_ECORRUPT")
    write(path, whole)
    pomai("verify", "x.db")


def case_verify_of_what_is_no_database():
    os.mkdir("empty")
    os.mkdir("other")
    write("other/x", "y")
    write("file", "y")
    for path, says in (("empty", "there is no database at"), ("none", "there is no database at"),
                       ("other", "is no database"), ("file", "a database is a directory")):
        expect(refused("verify", path, says=[says, path]).out == "", "a table of zeros")
        expect(refused("verify", path, "--quiet", says=says).out == "", "--quiet")
        expect(len(json.loads(refused("verify", path, "--json", says=says).out)["problems"]) == 1, "--json")
    expect(os.listdir("empty") == [] and os.listdir("other") == ["x"] and not os.path.exists("none"), "left as it was")


def case_words_of_refusals_are_options():
    npy("x.npy", vectors(10, 4))
    pomai("import", "x.db", "x.npy")
    for verb in (["get", "1"], ["count"], ["search", "-v", "[1, 2, 3, 4]"], ["delete", "1"]):
        refused(verb[0], "x.db", *verb[1:], "-c", "none",
                says=["there is no collection 'none'", "'pomai collections x.db' lists those", "'create --dim'"])
    expect(pomai("update", "x.db", "1", "--set", "{}").out == "updated 0 of 1\n", "nothing to set")


def case_what_was_meant():
    pomai("import", "x.db", jsonl("x.jsonl", [{"id": 1, "vector": [1, 2], "a": 1}]), "-c", "books")
    pomai("create", "x.db", "-c", "documents", "--dim", 2)
    for word, near in (("cuont", "count"), ("serach", "search"), ("colections", "collections"), ("Import", "import"),
                       ("dump_wal", "dump-wal"), ("verfy", "verify"), ("get-", "get")):
        for words in ([word, "x.db"], ["help", word]):
            refused(*words, code=2, says=f"there is no verb '{word}'; did you mean '{near}'? 'pomai help' lists them")
    for word, near in (("--were", "where"), ("--were={}", "where"), ("--collecton", "collection"), ("--wheer", "where"),
                       ("--deadline_ms", "deadline-ms"), ("--Json", "json"), ("-quiet=1", "")):
        says = f"'pomai count' has no option '{word}'; did you mean --{near}? see 'pomai help count'"
        refused("count", "x.db", word, "{}", code=2, says=says if near else "--quiet takes no value, but '-quiet=1'")
    for word in ("--xyzzy", "-x", "--", "--truth", "xyzzy"):
        words = [word] if word == "xyzzy" else ["count", "x.db", word, "z"]
        outcome = refused(*words, code=2)
        expect("did you mean" not in outcome.err, f"{outcome}")
    for words in (["count", "x.db"], ["search", "x.db", "--vector", "[1, 2]"], ["export", "x.db"], ["get", "x.db", "1"],
                  ["compact", "x.db"], ["delete", "x.db", "1"],
                  ["update", "x.db", "1", "--set", "{}"]):
        for word, near in (("book", "books"), ("Books", "books"), ("documnets", "documents"), ("dox", "")):
            outcome = refused(*words, "-c", word, says=["there is no collection", f"'{word}'", "POMAI_ENOTFOUND"])
            expect(("; did you mean '%s'? " % near in outcome.err) if near else "mean" not in outcome.err, f"{outcome}")
    refused("drop", "x.db", "book", says=["there is no collection 'book' to drop; did you mean 'books'? ", "POMAI_ENOTFOUND"])
    refused("drop", "x.db", "dox", says=["there is no collection 'dox' to drop; 'pomai collections x.db' lists those that are"])
    quotes = "JSON strings need double quotes"
    for verb in (["count"], ["get"], ["delete"], ["update", "--set", '{"b": 1}'], ["export"], ["search", "--vector", "[1, 2]"]):
        for where in ("{'a': 1}", "{a: 1}", """{"a": 'x'}""", "{\u201ca\u201d: 1}", """{"a": {"$in": ['x']}}""", "{$or: []}"):
            refused(verb[0], "x.db", "-c", "books", *verb[1:], "--where", where, says=["filter: ", "not JSON at byte", quotes])
        for where in ('{"a": 1', '{"a": 1,}', "a", '{"a": nul}', "{,", '{"a" 1}'):
            outcome = refused(verb[0], "x.db", "-c", "books", *verb[1:], "--where", where, says="not JSON at byte")
            expect(quotes not in outcome.err, f"{outcome}")
    for patch in ("{'b': 1}", "{b: 1}", """{"b": {'c': 1}}""", """{"b": 'c'}"""):
        refused("update", "x.db", "1", "-c", "books", "--set", patch, says=["the patch is no JSON object", quotes])
    for patch in ("[]", '{"b": 1', '{"b": }', "b"):
        expect(quotes not in refused("update", "x.db", "1", "-c", "books", "--set", patch).err, patch)
    expect(get("x.db", 1, collection="books")[0]["document"] == {"a": 1}, "changed")


def case_damage_in_the_log_is_reported():
    npy("x.npy", vectors(9000, 16))
    process = start_import("x.db", "x.npy", "--batch", 1, "--ledger", "ledger", "--shards", 1)
    wait_for_lines("ledger", 400, process)
    process.kill() # a clean close would leave nothing in the log
    process.communicate()
    stored = json.loads(pomai("verify", "x.db", "--json").out)
    expect(stored["rows"] == stored["log_rows"] >= 400 and stored["segments"] == 0, f"{stored}")
    records = pomai("dump-wal", "x.db", "--json").json()
    expect(len(records) == stored["records"] and all(r["rows"] == 1 for r in records), f"{records[:3]}")
    path = max((path for path in files_of("x.db") if path.endswith(".wal")), key=os.path.getsize)
    flip(path, 12000)
    damaged = open(path, "rb").read()
    for words in (["verify"], ["get"], ["search", "--vector", json.dumps([0] * 16)], ["flush"], ["compact"], ["digest"],
                  ["import"]):
        more = {"get": ["1"], "import": ["x.npy"]}.get(words[0], [])
        refused(words[0], "x.db", *words[1:], *more, says="POMAI_ECORRUPT")
    seen = pomai("collections", "x.db", "--accept-damage", "--json").json()
    expect(all(c["rows"] <= 9000 for c in seen), f"{seen}")
    report = json.loads(pomai("salvage", "x.db", "y.db", "--json", code=1).out)
    expect(report["rows"] == stored["rows"] - 1, f"what lies behind the damage is whole: {report}")
    expect(report["lost"][0]["what"] == "log", f"{report}")
    # Readers may only look; the bytes are as they were.
    expect(open(path, "rb").read() == damaged, "a damaged log was changed")


# ---- codes ----

def case_index_and_recall():
    x = vectors(6000, 24)
    npy("x.npy", x)
    pomai("import", "x.db", "x.npy", "--ids", "rows")
    refused("index", "x.db", "--deadline-ms", "0", says="POMAI_EDEADLINE")
    expect(pomai("index", "x.db").out == "segments have their indexes\n", "index")
    expect(pomai("index", "x.db", "--json").json() == [{"ok": True}], "index --json")
    stats = json.loads(pomai("stats", "x.db", "--json").out)["collections"][0]
    expect(stats["segments_with_codes"] == stats["segments"] == 1 and stats["rows_waiting_for_codes"] == 0, f"{stats}")
    expect(stats["segments_with_graph"] == 1 and stats["rows_with_graph"] == 6000, f"{stats}")
    expect(stats["rows_waiting_for_graph"] == 0, f"{stats}")
    expect(stats["codes_bytes"] > 0 and stats["graph_bytes"] > 0, f"{stats}")
    query = json.dumps([float(v) for v in x[7]])
    found = pomai("search", "x.db", "--vector", query, "-k", "3", "--recall", "0.9", "--json").json()[0]
    verdict = found["verdict"]
    expect(found["hits"][0] == {"distance": 0, "id": 7} and len(found["hits"]) == 3, f"{found}")
    expect(verdict["completeness"] == "approximate" and 0.9 <= verdict["expected_recall"] <= 1, f"{verdict}")
    expect(verdict["rows_scanned"] < verdict["rows_visible"] == 6000, f"{verdict}")
    expect("approximate" in pomai("search", "x.db", "--vector", query, "--recall", "0.9").out, "the line says so")
    verdict = pomai("search", "x.db", "--vector", query, "--ef", "50", "--json").json()[0]["verdict"]
    expect(verdict["completeness"] == "approximate" and verdict["rows_scanned"] < 6000, f"{verdict}")
    for bad in (["--ef", "0"], ["--ef", "4097"], ["--ef", "9", "--recall", "0.9"]):
        refused("search", "x.db", "--vector", query, *bad, code=2)
    for more in ([], ["--recall", "1"]):
        verdict = pomai("search", "x.db", "--vector", query, "--json", *more).json()[0]["verdict"]
        expect(verdict["completeness"] == "exact" and verdict["rows_scanned"] == 6000, f"{more}: {verdict}")
    for name, left in (("graph", "approximate"), ("codes", "exact")):
        derived = [path for path in files_of("x.db") if os.path.basename(path) == name]
        expect(len(derived) == 1, f"{derived}")
        flip(derived[0], os.path.getsize(derived[0]) - 1)
        outcome = json.loads(pomai("verify", "x.db", "--json").out)
        expect(outcome[name + "_damaged"] == 1 and "no rows are affected" in outcome["notes"], f"{outcome}")
        found = pomai("search", "x.db", "--vector", query, "-k", "3", "--recall", "0.9", "--json").json()[0]
        expect(found["hits"][0]["id"] == 7 and found["verdict"]["completeness"] == left, f"{name}: {found}")


# ---- rows that live for years ----

def case_flush_compact_digest():
    npy("x.npy", vectors(300, 4))
    pomai("import", "x.db", "x.npy", "--ids", "rows")
    pomai("import", "x.db", "x.npy", "--ids", "rows", "-c", "other")
    digest = pomai("digest", "x.db").out.strip()
    expect(len(digest) == 32 and pomai("digest", "x.db", "--json").json() == [{"digest": digest}], digest)
    expect(pomai("flush", "x.db").out == "every row is in segments\n", "flush")
    expect(pomai("flush", "x.db", "--json").json() == [{"ok": True}], "flush --json")
    pomai("delete", "x.db", *range(0, 50))  # a sixth: the background leaves it alone
    changed = pomai("digest", "x.db").out.strip()
    expect(changed != digest, "the digest does not see a delete")
    listed = [c for c in pomai("dump-manifest", "x.db", "--json").json() if c["what"] == "segment"]
    expect(sum(c["rows"] for c in listed) == 600 and sum(c["ended"] for c in listed) == 50, f"{listed}")
    expect(pomai("compact", "x.db", "-c", "other", "--quiet").out == "", "compact --quiet")
    expect(sum(c["rows"] for c in pomai("dump-segment", "x.db", "-c", "default", "--json").json()) == 300, "-c other")
    expect(pomai("compact", "x.db").out == "compacted\n", "compact")
    expect(pomai("digest", "x.db").out.strip() == changed, "compaction changed the digest")
    expect(sum(c["rows"] for c in pomai("dump-segment", "x.db", "-c", "default", "--json").json()) == 250, "all")
    refused("compact", "x.db", "-c", "none", says="POMAI_ENOTFOUND")
    stats = json.loads(pomai("stats", "x.db", "--json").out)
    expect(stats["maintenance"]["unflushed_bytes"] == 0 and "scrub_passes" in stats["maintenance"], f"{stats}")
    expect([c["segment_rows"] for c in stats["collections"]] == [250, 300], f"{stats}")


def case_dumps():
    jsonl("x.jsonl", [{"id": f"key {i}", "vector": [i, 1], "metadata": {"n": i}} for i in range(20)])
    pomai("import", "x.db", "x.jsonl", "-c", "docs", "--shards", 2)
    npy("y.npy", vectors(10, 3))
    pomai("import", "x.db", "y.npy")
    pomai("delete", "x.db", "-c", "docs", "key 3")
    manifest = pomai("dump-manifest", "x.db", "--json").json()
    expect([line["what"] for line in manifest] == ["manifest", "shard", "shard", "collection", "segment", "collection",
                                                   "segment"], f"{manifest}")
    expect(len(pomai("dump-manifest", "x.db").out.splitlines()) == 7, "dump-manifest")
    segments = [line for line in manifest if line["what"] == "segment"]
    number = [s["number"] for s in segments if s["collection"] == "docs"][0]
    rows = pomai("dump-segment", "x.db", number, "--rows", "--json").json()
    expect(rows[0]["what"] == "segment" and rows[0]["rows"] == 20 and rows[0]["ended"] == 1, f"{rows[0]}")
    expect({row["id"] for row in rows[1:]} == {f"key {i}" for i in range(20)}, f"{rows}")
    expect([row["id"] for row in rows[1:] if "end" in row] == ["key 3"], f"{rows}")
    expect(len(pomai("dump-segment", "x.db").out.splitlines()) == 2, "all segments")
    expect(len(pomai("dump-segment", "x.db", "--rows").out.splitlines()) == 32, "all rows")
    refused("dump-segment", "x.db", 77, says="POMAI_ENOTFOUND")
    refused("dump-segment", "x.db", "-c", "none", says="POMAI_ENOTFOUND")
    refused("dump-segment", "x.db", "one", code=2, says="'one' is not the number")
    refused("dump-segment", "x.db", "0", code=2, says="'0' is not the number")


def case_time_to_live():
    npy("x.npy", vectors(10, 3))
    made = pomai("create", "x.db", "-c", "week", "--dim", 3, "--ttl", "7d", "--json").json()[0]
    expect(made["ttl_ns"] == 7 * 86400 * 10**9, f"{made}")
    expect("rows vanish after 90s" in pomai("create", "x.db", "-c", "text", "--dim", 3, "--ttl", "90s").out, "create")
    pomai("import", "x.db", "x.npy", "-c", "week")
    pomai("import", "x.db", "x.npy", "-c", "week", "--ttl", "168h")
    refused("import", "x.db", "x.npy", "-c", "week", "--ttl", "8d", says="the time to live 7d")
    row = get("x.db", 1, collection="week")[0]
    expect(row["expiry_ns"] == row["stamp_ns"] + 7 * 86400 * 10**9, f"{row}")
    expect("\nexpires   20" in pomai("get", "x.db", "-c", "week", 1).out, "get")
    listed = {c["collection"]: c.get("ttl_ns") for c in pomai("collections", "x.db", "--json").json()}
    expect(listed["week"] == 7 * 86400 * 10**9 and listed["text"] == 90 * 10**9, f"{listed}")
    expect("ttl 7d" in pomai("collections", "x.db").out, "collections")
    pomai("import", "x.db", "x.npy", "-c", "short", "--ttl", "1s")
    time.sleep(1.1)
    expect(counts("x.db")["short"] == 0, "rows after their time")
    pomai("salvage", "x.db", "y.db")
    expect(counts("y.db") == counts("x.db"), "what was salvaged")
    expect(get("y.db", 1, collection="week")[0]["expiry_ns"] == row["expiry_ns"], "expiry of what was salvaged")
    for ttl in ("7", "d", "7w", "-7d", "0d", "7.5d", "", "300000000000d", "7d "):
        refused("create", "x.db", "-c", "bad", "--dim", 3, "--ttl", ttl, code=2, says="--ttl is")
        refused("import", "x.db", "x.npy", "-c", "bad", "--ttl", ttl, code=2, says="--ttl is")
    expect("bad" not in counts("x.db"), "a refused collection is there")


def case_salvage():
    npy("x.npy", vectors(100, 3))
    pomai("import", "x.db", "x.npy")
    out = pomai("salvage", "x.db", "y.db").out
    expect("nothing was lost" in out, out)
    refused("salvage", "x.db", "y.db", says="POMAI_EEXISTS")
    refused("salvage", "none.db", "z.db", says="POMAI_ENOTFOUND")
    refused("salvage", "x.db", "no/such/z.db", says="POMAI_")
    current = [path for path in files_of("x.db") if path.endswith("CURRENT")][0]
    os.remove(current)
    refused("verify", "x.db", says="POMAI_ECORRUPT")
    report = json.loads(pomai("salvage", "x.db", "z.db", "--json").out)  # catalogue and copy agree
    expect(report["rows"] == 100 and not report["lost"], f"{report}")
    for path in files_of("x.db"):
        if "MANIFEST" in path:
            os.remove(path)
    report = json.loads(pomai("salvage", "x.db", "u.db", "--json", code=1).out)
    expect(report["rows"] == 100 and report["lost"][0]["what"] == "catalogue", f"{report}")
    for path in files_of("x.db"):
        if "CATALOGUE" in path:
            os.remove(path)
    refused("salvage", "x.db", "w.db", says="POMAI_ECORRUPT")
    expect(not os.path.exists("w.db"), "a refused salvage made a database")


# ---- processes ----

def start_import(db, *words):
    return subprocess.Popen([PROGRAM, "import", db, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_lines(path, count, process):
    for _ in range(3000):
        if os.path.exists(path) and open(path, "rb").read().count(b"\n") >= count:
            return
        if process.poll() is not None:
            return
        time.sleep(0.002)
    raise Failure("the importer makes no progress")


def check_ledger(db, ledger, rows):
    acknowledged = 0
    for line in open(ledger):
        if not line.endswith("\n"):
            break
        first, count, row = map(int, line.split())
        same_rows(db, list(range(first, first + count)), rows[row:row + count])
        acknowledged += count
    return acknowledged


def case_kill_9_keeps_what_the_ledger_says():
    rows = vectors(4000, 16)
    npy("x.npy", rows)
    for turn, level in enumerate(("sync", "os", "group")):
        db, ledger = f"{turn}.db", f"ledger{turn}"
        process = start_import(db, "x.npy", "--batch", 5, "--ledger", ledger, "--durability", level)
        wait_for_lines(ledger, RANDOM.randrange(1, 200), process)
        process.kill()
        process.communicate()
        acknowledged = check_ledger(db, ledger, rows)
        stored = counts(db)["default"]
        expect(acknowledged <= stored <= acknowledged + 15 and stored % 5 == 0,
               f"{level}: {acknowledged} rows acknowledged, {stored} there")
        pomai("import", db, "x.npy", "--limit", 10)


def case_interrupt():
    rows = vectors(20000, 16)
    npy("x.npy", rows)
    process = start_import("x.db", "x.npy", "--batch", 2, "--ledger", "ledger")
    wait_for_lines("ledger", 20, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    expect(process.returncode == 130 and b"interrupted" in err, f"{process.returncode} {out} {err}")
    expect(b"before the interruption" in out, f"reads like success: {out}")
    expect(check_ledger("x.db", "ledger", rows) == counts("x.db")["default"], "rows after an interrupt")


def case_interrupt_while_an_export_looks_for_rows():
    text = "".join(RANDOM.choice("abcdef ") for _ in range(500))
    pomai("import", "x.db", jsonl("x.jsonl", [{"id": i, "vector": [1], "metadata": {"t": text}} for i in range(30000)]))
    slow = json.dumps({"$or": [{"t": {"$contains": f"zzz{i}"}} for i in range(250)]})
    with open("f.jsonl", "w") as file:
        file.write("precious")
    process = subprocess.Popen([PROGRAM, "export", "x.db", "--where", slow, "-o", "f.jsonl"], stderr=subprocess.PIPE)
    while not os.path.exists("f.jsonl.unfinished") and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    expect(process.returncode == 130 and b"interrupted; nothing whole was written" in err, f"{process.returncode} {err}")
    expect(open("f.jsonl").read() == "precious" and not os.path.exists("f.jsonl.unfinished"), "the file before stays")


def case_progress_on_a_terminal():
    npy("x.npy", [[0.5] * 2] * 300000)
    master, terminal = os.openpty()
    process = subprocess.Popen([PROGRAM, "import", "x.db", "x.npy", "--batch", "1", "--ledger", "ledger"],
                               stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    seen = b""
    while b"ETA" not in seen:
        try:
            some = os.read(master, 4096)
        except OSError:
            break
        if not some:
            break
        seen += some
    process.kill()
    process.communicate()
    os.close(master)
    expect(b"\rimport [" in seen and b" rows  " in seen and b"/s  ETA " in seen, f"no progress bar: {seen}")


def case_two_processes():
    npy("x.npy", vectors(20000, 16))
    npy("y.npy", vectors(2, 16))
    process = start_import("x.db", "x.npy", "--batch", 1, "--ledger", "ledger")
    wait_for_lines("ledger", 3, process)
    refused("import", "x.db", "y.npy", says="POMAI_ELOCKED")
    refused("delete", "x.db", "1", says="POMAI_ELOCKED")
    process.kill()
    process.communicate()
    pomai("import", "x.db", "y.npy")


def case_read_only_directory():
    npy("x.npy", vectors(5, 3))
    pomai("import", "x.db", "x.npy", "--ids", "rows")
    if os.geteuid() == 0:
        return
    for at, directories, names in os.walk("x.db"):
        for name in directories + names:
            os.chmod(os.path.join(at, name), 0o555 if name in directories else 0o444)
    os.chmod("x.db", 0o555)
    try:
        get("x.db", 1)
        refused("import", "x.db", "x.npy", says="POMAI_EACCESS")
    finally:
        subprocess.run(["chmod", "-R", "u+w", "x.db"], check=True)


def main():
    global PROGRAM, COMPLETION, SANITIZED
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", default="")
    parser.add_argument("--completion", default="")
    parser.add_argument("--share", type=int, default=1, help="one case in so many, drawn by the seed")
    options = parser.parse_args()
    PROGRAM = os.path.abspath(options.program)
    with open(PROGRAM, "rb") as file:
        program = file.read()
    SANITIZED = b"__asan_init" in program or b"__tsan_init" in program
    COMPLETION = os.path.abspath(options.completion) if options.completion else ""
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    cases = [(name[5:], case) for name, case in globals().items() if name.startswith("case_") and options.only in name]
    cases = [case for i, case in enumerate(cases) if (i + seed) % options.share == 0]
    failures = 0
    home = os.getcwd()
    for name, case in cases:
        RANDOM.seed(f"{seed} {name}")
        directory = tempfile.mkdtemp(prefix="pomai-cli-")
        os.chdir(directory)
        try:
            case()
        except (Failure, json.JSONDecodeError, KeyError, IndexError, subprocess.TimeoutExpired) as failure:
            failures += 1
            print(f"FAIL {name}: {type(failure).__name__}: {failure}", flush=True)
        finally:
            os.chdir(home)
            shutil.rmtree(directory, ignore_errors=True)
    print(f"cli: {len(cases)} cases, {failures} failures, seed {seed}")
    return 1 if failures or not cases else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""`python -m pomai` import and export of Parquet and Arrow files, and the verbs without the program in C."""

import json
import subprocess
import sys

import pomai
import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
np = pytest.importorskip("numpy")

WITHOUT_PROGRAM = "import sys, pomai.__main__ as m; m.program = lambda: None; sys.exit(m.main())"


def cli(*words, code=0, without=False, stdin=None):
    start = ["-c", WITHOUT_PROGRAM] if without else ["-m", "pomai"]
    run = subprocess.run([sys.executable, *start, *map(str, words)], capture_output=True, text=True, check=False, input=stdin)
    assert run.returncode == code, (run.stdout, run.stderr)
    return run.stdout if code == 0 else run.stderr


def content(path, collection="default"):
    with pomai.open(path, read_only=True) as db:
        rows = db if collection == "default" else db.collection(collection)
        return {r.id: (bytes(memoryview(r.vector)), r.document, r.expiry) for r in rows}


@pytest.fixture
def table():
    count = 5000
    return pa.table({
        "id": range(count),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(count * 4, dtype="float32")), 4),
        "title": [f"t{i}" for i in range(count)],
    })


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "feather", "ipc"])
def test_there_and_back(tmp_path, table, suffix):
    source = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        parquet.write_table(table, source)
    else:
        with (pa.ipc.new_stream if suffix == "ipc" else pa.ipc.new_file)(source, table.schema) as writer:
            writer.write_table(table)
    said = json.loads(cli("import", tmp_path / "a", source, "--json", "--batch", 999))
    assert said["ok"] and (said["rows"], said["dim"], said["created"]) == (5000, 4, True)
    target = tmp_path / f"out.{suffix}"
    said = json.loads(cli("export", tmp_path / "a", "-o", target, "-j"))
    assert (said["rows"], said["bytes"]) == (5000, target.stat().st_size)
    cli("import", tmp_path / "b", target)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert json.loads(content(tmp_path / "b")[17][1]) == {"title": "t17"}
    assert not list(tmp_path.glob("*.unfinished"))


def test_options(tmp_path, table):
    source = tmp_path / "rows.parquet"
    names = table.rename_columns(["key", "embedding", "title"]).set_column(0, "key", table["id"].cast(pa.string()))
    parquet.write_table(names, source)
    cli("import", tmp_path / "db", source, "-c", "docs", "--metric", "cosine", "--ids", "rows", code=2)
    cli("import", tmp_path / "db", source, "-c", "docs", "--metric", "cosine", "--id-column", "key",
        "--vector-column", "embedding", "--metadata-columns", "", "--skip", 10, "--limit", 20, "--ttl", "7d", "-q")
    with pomai.open(tmp_path / "db") as db:
        docs = db.collection("docs")
        assert (docs.info.metric, docs.info.id_kind, docs.info.ttl) == ("cosine", "string", 7 * 86400)
        assert {r.id for r in docs} == {str(i) for i in range(10, 30)}
        assert docs.get("10").document is None
    assert "metric" in cli("import", tmp_path / "db", source, "-c", "docs", "--metric", "l2", code=1)


def test_layouts(tmp_path, table):
    source, lines = tmp_path / "rows.parquet", tmp_path / "rows.jsonl"
    parquet.write_table(table.slice(0, 50), source)
    lines.write_text('{"id": 1, "vector": [1, 2, 3, 4], "title": "a"}\n')
    cli("import", tmp_path / "db", source, "-c", "made", "--cluster-by", "title", "--index", "exact")
    for without in (False, True):
        name = f"verbs{without}"
        cli("create", tmp_path / "db", "-c", name, "-d", 4, "--cluster-by", "title", "--index", "exact", without=without)
        cli("import", tmp_path / "db", lines, "-c", name, "--index", "exact", without=without)
        cli("import", tmp_path / "db", lines, "-c", f"new{without}", "--cluster-by", "title", "--index", "exact",
            without=without)
        assert "index" in cli("import", tmp_path / "db", lines, "-c", name, "--index", "graph", without=without, code=1)
        assert "cluster" in cli("import", tmp_path / "db", lines, "-c", name, "--cluster-by", "b", without=without, code=1)
    assert "index" in cli("import", tmp_path / "db", source, "-c", "made", "--index", "codes", code=1)
    with pomai.open(tmp_path / "db") as db:
        for name in ("made", "verbsFalse", "verbsTrue", "newFalse", "newTrue"):
            info = db.collection(name).info
            assert (info.cluster_by, info.index_kind) == ("title", "exact"), name


def test_refused(tmp_path, table):
    source = tmp_path / "rows.parquet"
    assert "does not exist" in cli("import", tmp_path / "db", source, code=1)
    source.write_bytes(b"PAR1 no it is not")
    assert "pomai: " in cli("import", tmp_path / "db", source, code=1)
    parquet.write_table(table.drop_columns("vector"), source)
    assert "vectors" in cli("import", tmp_path / "db", source, code=1)
    bad = pa.table({"vector": pa.array([[1.0], None])})
    parquet.write_table(bad, source)
    assert "row 1" in cli("import", tmp_path / "db", source, "-c", "c", code=1)
    with pomai.open(tmp_path / "db") as db:
        assert db.collections() == []
    said = cli("import", tmp_path / "db", source, "-c", "c", "--batch", 1, code=1)
    assert "--skip 1" in said
    assert "file" in cli("export", tmp_path / "db", "--format", "parquet", code=2)


def test_documents_that_are_not_text(tmp_path):
    with pomai.open(tmp_path / "db") as db:
        db.add([[1.0]], documents=[b"\xff"])
    target = tmp_path / "out.parquet"
    assert "--binary" in cli("export", tmp_path / "db", "-o", target, code=1)
    assert not target.exists() and not list(tmp_path.glob("*.unfinished"))
    cli("export", tmp_path / "db", "-o", target, "--binary")
    cli("import", tmp_path / "again", target)
    assert content(tmp_path / "again") == content(tmp_path / "db")


def test_without_the_program(tmp_path):
    db = tmp_path / "db"
    (tmp_path / "rows.jsonl").write_text('{"id":7,"vector":[1,0],"title":"a"}\n{"id":8,"vector":[0,1]}\n')
    (tmp_path / "rows.csv").write_text('id,vector,title\na,"[1,0]",x\n')
    np.save(tmp_path / "rows.npy", np.ones((3, 2), "float32"))
    assert "pomai" in cli("version", without=True)
    cli("create", db, "--dim", 2, "--metric", "ip", without=True)
    assert json.loads(cli("import", db, tmp_path / "rows.jsonl", without=True))["rows"] == 2
    cli("import", db, tmp_path / "rows.csv", "-c", "names", without=True)
    cli("import", db, tmp_path / "rows.npy", "-c", "plain", without=True)
    assert [json.loads(line)["name"] for line in cli("collections", db, without=True).splitlines()] == [
        "default", "names", "plain"]
    assert json.loads(cli("get", db, 7, without=True))["metadata"] == {"title": "a"}
    assert json.loads(cli("search", db, "--vector", "[1,0]", "-k", 1, without=True))["hits"][0]["id"] == 7
    where = cli("search", db, "--vector", "[1,0]", "--where", '{"none": 1}', without=True)
    assert json.loads(where)["hits"] == []
    assert len(cli("export", db, without=True).splitlines()) == 2
    assert json.loads(cli("delete", db, 7, without=True)) == {"deleted": 1}
    cli("get", db, 7, code=1, without=True)
    for verb in ("flush", "compact", "stats", "verify", "digest"):
        cli(verb, db, without=True)
    cli("drop", db, "names", without=True)
    cli("salvage", db, "x", code=2, without=True)


def test_digits_are_kept(tmp_path):
    """The same documents with the program in C and without it."""
    document = '{"big":123456789012345678901234567890,"pi":3.14159265358979323846264338327950288,"price":1.5e0,"s":"1"}'
    lines = ['{"id": 1, "vector": [0.5, 1e0], "metadata": %s}' % document,
             '{"id": 2, "vector": [1.0, 2], %s' % document[1:],
             '{"id": 3, "vector": [1, 2], "metadata": null}', '{"id": 4, "vector": [1, 2], "metadata": {"x": [1e0]}}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    for without in (True, False):
        db = tmp_path / f"db{without}"
        cli("import", db, tmp_path / "rows.jsonl", without=without)
        documents = [row[1] for row in map(content(db).get, (1, 2, 3, 4))]
        assert documents == [document, document, None, '{"x":[1e0]}']
    assert content(tmp_path / "dbTrue") == content(tmp_path / "dbFalse")


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.db"
    with pomai.open(path) as db:
        db.add([[float(i)] for i in range(6)], metadata={"price": range(6), "kind": ["a", "b"] * 3})
    return path


CHEAP = json.dumps({"price": {"$lt": 3}})


def ids_of(text):
    return sorted(json.loads(line)["id"] for line in text.splitlines())


@pytest.mark.parametrize("without", [True, False])
@pytest.mark.parametrize("flag", ["-w", "--where"])
def test_where_on_every_verb(shop, without, flag):
    """The same words with the program in C and without it."""
    run = lambda *words, **more: cli(*words, "--json", without=without, **more)  # noqa: E731
    assert json.loads(run("count", shop, flag, CHEAP))["rows"] == 3
    assert json.loads(run("count", shop))["rows"] == 6
    assert ids_of(run("get", shop, flag, CHEAP)) == [0, 1, 2]
    assert len(ids_of(run("get", shop, flag, CHEAP, "--limit", 2))) == 2
    assert ids_of(run("get", shop, "--all")) == list(range(6))
    assert run("get", shop, flag, '{"price": 9}') == ""
    hits = run("search", shop, "--vector", "[5]", "-k", 9, flag, CHEAP).splitlines()[0]
    found = json.loads(hits)
    assert [hit["id"] for hit in found["hits"]] == [2, 1, 0]
    assert json.loads(run("update", shop, flag, CHEAP, "--set", '{"cheap": true}'))["updated"] == 3
    assert json.loads(run("update", shop, 4, 99, "--set", '{"cheap": false}'))["updated"] == 1
    assert json.loads(run("update", shop, 5, "--document", "text"))["updated"] == 1
    assert json.loads(run("count", shop, flag, '{"cheap": true}'))["rows"] == 3
    with pomai.open(shop, read_only=True) as db:
        assert db.get(0).metadata == {"price": 0, "kind": "a", "cheap": True} and db.get(5).document == "text"
    assert json.loads(run("delete", shop, flag, '{"cheap": true, "kind": "a"}'))["deleted"] == 2
    assert json.loads(run("delete", shop, 3))["deleted"] == 1
    assert ids_of(run("get", shop, "--all")) == [1, 4, 5]
    assert json.loads(run("delete", shop, "--all"))["deleted"] == 3


@pytest.mark.parametrize("without", [True, False])
def test_where_of_a_file(shop, tmp_path, without):
    """Longer than an argument can be, and from standard input."""
    file = tmp_path / "filter.json"
    long = json.dumps({"$and": [{"price": {"$lt": 3}}, {"kind": {"$in": ["a", "b", "x" * 200_000]}}]}) + "\n"
    file.write_text(long)
    run = lambda *words, **more: cli(*words, "--json", without=without, **more)  # noqa: E731
    for where, stdin in (f"@{file}", None), ("-", long), ("@-", long):
        assert json.loads(run("count", shop, "-w", where, stdin=stdin))["rows"] == 3
        assert ids_of(run("get", shop, "--where", where, stdin=stdin)) == [0, 1, 2]
        assert ids_of(cli("export", shop, "--where", where, stdin=stdin, without=without)) == [0, 1, 2]
        hits = run("search", shop, "--vector", "[5]", f"--where={where}", stdin=stdin).splitlines()[0]
        assert [hit["id"] for hit in json.loads(hits)["hits"]] == [2, 1, 0]
        assert json.loads(run("update", shop, "-w", where, "--set", '{"cheap": true}', stdin=stdin))["updated"] == 3
    file.write_text("{}")
    assert "say --all" in cli("delete", shop, "-w", f"@{file}", code=2, without=without)
    file.write_text('{"price": {"$lt": }}')
    assert "price.$lt: not JSON at byte 18" in cli("count", shop, "-w", f"@{file}", code=1, without=without)
    file.write_bytes(b'{"price": "\0"}')
    assert "the filter has a NUL byte, at offset 11" in cli("count", shop, "-w", f"@{file}", code=1, without=without)
    file.write_bytes(b" " * (16 << 20) + b"{")
    assert "the filter has more than 16,777,216 bytes" in cli("count", shop, "-w", f"@{file}", code=1, without=without)
    file.write_bytes(b'{"price": 1}' + b" " * ((16 << 20) - 12))
    assert json.loads(run("count", shop, "-w", f"@{file}"))["rows"] == 1
    assert str(tmp_path / "none") in cli("count", shop, "-w", f"@{tmp_path / 'none'}", code=1, without=without)
    assert "directory" in cli("count", shop, "-w", f"@{tmp_path}", code=1, without=without)
    assert "names no file" in cli("count", shop, "-w", "@", code=2, without=without)
    assert json.loads(run("delete", shop, "-w", "-", stdin=long))["deleted"] == 3


def test_where_of_a_file_of_parquet(shop, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "filter.json").write_text(CHEAP)
    for where, stdin in (f"@{tmp_path / 'filter.json'}", None), ("-", CHEAP):
        summary = cli("export", shop, "-w", where, "-o", tmp_path / "out.parquet", "--json", stdin=stdin)
        assert json.loads(summary)["rows"] == 3
    assert "names no file" in cli("export", shop, "-w", "@", "-o", tmp_path / "out.parquet", code=2)


@pytest.mark.parametrize("without", [True, False])
@pytest.mark.parametrize("words", [
    ("delete", "--where", "{ }"), ("delete", "--where", '{"a": {"$nin": []}}'), ("delete", "--where", '{"$not": {"a": {"$in": []}}}'),
    ("delete", "--where", '{"$or": [{"a": 1}, {"a": {"$not": {"$not": {"$nin": []}}}}]}'), ("update", "--where", '{"$and": [{}]}', "--set", "{}"), ("delete",), ("delete", 1, "--where", CHEAP), ("delete", "--all", "--where", CHEAP),
    ("delete", "--where", r'{"a\u0000b": {"$nin": []}}'), ("delete", "--where", r'{"$or": [{}, {"x\u0000": 1}]}'),
    ("delete", "--where", '{"$or": [{}, {"a": %s}]}' % ("1" * 5000)), ("update", "--where", r'{"a\u0000b": {"$nin": []}}', "--set", "{}"),
    ("get", "--where", "{}"), ("get",), ("get", 1, "--limit", 2), ("update", "--where", CHEAP), ("update", "--all"),
    ("update", "--where", CHEAP, "--set", "{}", "--document", "x"), ("update", "--set", "{}"),
])  # fmt: skip
def test_which_rows_is_said_once(shop, without, words):
    cli(words[0], shop, *words[1:], code=2, without=without)
    cli("count", shop, "--where", '{"price": {"$no": 1}}', code=1, without=without)
    with pomai.open(shop, read_only=True) as db:
        assert len(db) == 6


def test_export_where(shop, tmp_path):
    assert ids_of(cli("export", shop, "--where", CHEAP, without=True)) == [0, 1, 2]
    assert ids_of(cli("export", shop, "--where", CHEAP)) == [0, 1, 2]
    for name in ("cheap.parquet", "cheap.arrow"):
        said = json.loads(cli("export", shop, "-o", tmp_path / name, "-w", CHEAP, "--json"))
        assert said["rows"] == 3
    assert sorted(parquet.read_table(tmp_path / "cheap.parquet")["id"].to_pylist()) == [0, 1, 2]
    assert "price" in cli("export", shop, "-o", tmp_path / "x.parquet", "-w", '{"price": {"$no": 1}}', code=1)

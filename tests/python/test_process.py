# SPDX-License-Identifier: Apache-2.0
"""Forks, exits, interrupts, interpreters without NumPy: each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import pomai

SMALL = {"shards": 2, "search_threads": 0, "durability": "os"}


def in_child(call: Callable[[], None]) -> None:
    """Runs it in a forked child and fails if it does."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_fork(path: str) -> None:
    db = pomai.open(path, **SMALL)  # type: ignore[arg-type]
    books = db.collection("books", 2)
    books.add([[1, 2], [3, 4]], ids=[1, 2])
    result, shot, block = books.search([1, 2], 2), db.snapshot(), books.reserve(1)
    digest = db.digest()

    def child() -> None:
        for call in (
            lambda: books.add([[5, 6]]), lambda: books.get(1), lambda: books.delete(1), lambda: books.search([1, 2]),
            books.flush, books.compact, books.freeze, books.count, lambda: books.info, lambda: books.reserve(1),
            db.digest, db.sync, db.snapshot, db.stats, db.collections, lambda: db.collection("x", 2),
            lambda: db.drop("books"), shot.digest, lambda: block.__exit__(None, None, None),
        ):
            with pytest.raises(pomai.ForkError, match="forked"):
                call()
        assert result.ids.tolist() == [1, 2]
        with pytest.raises(pomai.LockedError):
            pomai.open(path)
        shot.close()
        books.close()
        db.close()

    in_child(child)
    assert db.digest() == shot.digest() == digest
    with block:
        block.vectors[:] = 7
    assert len(books) == 3
    shot.close()
    db.close()
    with pomai.open(path) as db:
        assert db.collection("books").get(3).vector.tolist() == [7, 7]


def use_in_child(given: Any) -> str:
    try:
        given[0].count()
    except pomai.ForkError as error:
        return error.hint
    return "no error"


handles: list[pomai.Database] = []


def test_multiprocessing(path: str) -> None:
    with pomai.open(path, **SMALL) as db:  # type: ignore[arg-type]
        db.add([[1, 2]])
        handles.append(db)
        try:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                hints = pool.map(use_handle, range(4))
            assert len(hints) == 4 and all("spawn" in hint for hint in hints)
            with pytest.raises(TypeError, match="pickled"):
                multiprocessing.get_context("spawn").Process(target=use_in_child, args=(db,)).start()
        finally:
            handles.clear()
        assert len(db) == 1


def use_handle(_: int) -> str:
    return use_in_child(handles)


AT_EXIT = """
import sys, pomai
db = pomai.open(sys.argv[1], durability="os")
c = db.collection("c", 2)
c.add([[1, 2], [3, 4]], metadata=[{"a": 1}, {"a": 2}])
shot = db.snapshot()
result = c.search([1, 2])
ids, rows = result.ids, c.get([0, 1])
if sys.argv[2] == "block":
    block = c.reserve(2)
    array = block.vectors
if sys.argv[2] == "cycle":
    keep = [db, c, shot, result]
    keep.append(keep)
    del db, c, shot, result
if sys.argv[2] == "raise":
    raise SystemExit(0)
if sys.argv[2] == "thread":
    import threading
    def work():
        try:
            while True:
                c.search([1, 2])
        except pomai.ClosedError:
            pass
    threading.Thread(target=work, daemon=True).start()
"""


@pytest.mark.parametrize("how", ["plain", "block", "cycle", "raise", "thread"])
def test_exit_without_close(path: str, program: Any, how: str) -> None:
    done = program(AT_EXIT, path, how, options=("-W", "error", "-X", "dev"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with pomai.open(path, existing=True) as db:
        assert len(db.collection("c")) == 2
        assert db.collection("c").get(1).metadata == {"a": 2}


INTERRUPTED = """
import os, signal, sys, threading, time
import pomai
what, path = sys.argv[1:]
db = pomai.open(path, durability="os", shards=1, search_threads=0, flush_bytes=1 << 20 if what == "add" else 0)
rows = b"\\1\\0\\0\\0" * (1 << 20)
rows = memoryview(rows).cast("f", (2048, 512))
db.add(rows, ids=range(2048))

def interrupt():
    ready.wait()
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

def call():
    if what == "add":
        i = 1
        while True:
            db.add(rows, ids=range(i * 2048, (i + 1) * 2048))
            i += 1
    if what == "search":
        queries = memoryview(bytes(4 * 512 * 100_000)).cast("f", (100_000, 512))
        ready.set()
        db.search(queries, 10)
    while True:
        getattr(db, what)()
        db.add(rows, ids=range(2048))

ready = threading.Event()
threading.Thread(target=interrupt).start()
try:
    if what != "search":
        ready.set()
    call()
except KeyboardInterrupt:
    print("interrupted", flush=True)
if what == "search":
    os._exit(0)  # it goes on meanwhile, and the close would wait for it
assert len(db) % 2048 == 0 and db.get(0).id == 0
digest = db.digest()
db.close()
with pomai.open(path) as db:
    assert db.digest() == digest
"""


@pytest.mark.parametrize("what", ["add", "flush", "compact", "search", "digest"])
def test_ctrl_c(path: str, program: Any, what: str) -> None:
    done = program(INTERRUPTED, what, path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_a_signal_handler_may_close(path: str, program: Any) -> None:
    done = program(
        """
import os, signal, sys, threading, time
import pomai
db = pomai.open(sys.argv[1], durability="os", search_threads=0)
db.add(memoryview(b"\\1\\0\\0\\0" * (1 << 20)).cast("f", (2048, 512)))
signal.signal(signal.SIGALRM, lambda *_: db.close())
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    while True:
        db.search(memoryview(bytes(4 * 512 * 2000)).cast("f", (2000, 512)), 10)
except pomai.ClosedError as error:
    print(error)
assert db.closed
""", path
    )
    assert (done.returncode, done.stderr) == (0, "") and "closed" in done.stdout
    with pomai.open(path) as db:
        assert len(db) == 2048


def test_a_signal_handler_may_close_between_the_puts_of_one_add(path: str, program: Any) -> None:
    done = program(
        """
import signal, sys
import pomai
db = pomai.open(sys.argv[1], durability="os", search_threads=0)
rows = memoryview(bytes(4 * 512 * 100_000)).cast("f", (100_000, 512))
signal.signal(signal.SIGALRM, lambda *_: db.close())
signal.setitimer(signal.ITIMER_REAL, 0.01)
try:
    db.add(rows)
except pomai.ClosedError as error:
    print(error.rows_stored)
assert db.closed
""", path
    )
    assert (done.returncode, done.stderr) == (0, "")
    with pomai.open(path) as db:
        assert len(db) == int(done.stdout) < 100_000


@pytest.mark.parametrize("what", ["search", "close"])
def test_a_signal_handler_may_fork(path: str, program: Any, what: str) -> None:
    done = program(
        """
import os, signal, sys, threading
import pomai
db = pomai.open(sys.argv[1], durability="os", search_threads=0)
db.add(memoryview(b"\\1\\0\\0\\0" * (1 << 20)).cast("f", (2048, 512)))
parent, children, begun = os.getpid(), [], threading.Event()

def fork(*_):
    child = os.fork()
    if child:
        children.append(child)
    else:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)  # should it hang

def search():
    queries = memoryview(bytes(4 * 512 * 4000)).cast("f", (4000, 512))
    begun.set()
    db.search(queries, 10)

signal.signal(signal.SIGALRM, fork)
try:
    if sys.argv[2] == "close":
        threading.Thread(target=search).start()
        begun.wait()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        db.close()
    else:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        search()
except pomai.ForkError:
    os._exit(7 if os.getpid() != parent else 1)
print([os.waitpid(child, 0)[1] >> 8 for child in children])
""", path, what
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[7]\n", "")


WITHOUT_NUMPY = """
import array, sys
sys.modules["numpy"] = None
import pomai
with pomai.open(sys.argv[1]) as db:
    ids = db.add([[1.0, 2.0], [3.0, 4.0]], metadata=[{"a": 1}, {"a": 2}])
    assert ids == range(2), ids
    assert db.add([5, 6]) == 2
    result = db.search([1, 2], k=2, include=["metadata", "vectors"])
    assert result.ids.tolist() == [0, 1] and result.ids.readonly, result.ids
    assert result.distances.tolist() == [0.0, 8.0] and result.vectors.tolist() == [[1, 2], [3, 4]]
    assert [hit.metadata for hit in result] == [{"a": 1}, {"a": 2}]
    assert db.search(array.array("f", [1, 2]), 1, include="vectors")[0].vector.tolist() == [1, 2]
    results = db.search([[1, 2], [3, 4]], k=2)
    assert results.ids.tolist() == [[0, 1], [1, 0]] or results.ids.tolist()[1][0] == 1
    assert results.distances.shape == (2, 2)
    assert db.get([0, 9]).vectors.tolist()[0] == [1, 2] and db.get(1).vector.tolist() == [3, 4]
    with db.reserve(2) as block:
        block.vectors[0, 1] = 7
        block.vectors[1, 0] = 8
    assert list(block.ids) == [3, 4] and db.get(4).vector.tolist() == [8, 0]
    try:
        db.add([1, float("nan")])
    except pomai.NotFiniteError:
        pass
    assert "numpy" not in {name for name, module in sys.modules.items() if module}
print("fine")
"""


def test_without_numpy(path: str, program: Any) -> None:
    done = program(WITHOUT_NUMPY, path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_importing_does_not_load_numpy(program: Any) -> None:
    done = program("import sys, pomai, pomai.aio\nassert 'numpy' not in sys.modules\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_subinterpreters(path: str, program: Any) -> None:
    """They work, or are refused; nothing is broken after them."""
    done = program(
        """
import sys
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
import pomai
db = pomai.open(sys.argv[1])
db.add([[1, 2]])
text = f'''
import sys
sys.path[:] = {sys.path!r}
try:
    import pomai
except ImportError:
    pass
else:
    with pomai.open({sys.argv[1]!r} + "2") as db:
        db.add([[1, 2]])
        assert db.search([1, 2], k=1).ids.tolist() == [0]
    kept = pomai.open({sys.argv[1]!r} + "3")
'''
text = "import sys; sys.modules['numpy'] = None\\n" + text  # which does not support them
for _ in range(3):
    one = interpreters.create()
    interpreters.run_string(one, text)
    interpreters.destroy(one)
assert len(db) == 1
db.close()
""", path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_command_line(path: str) -> None:
    with pomai.open(path) as db:
        db.add([[1, 2]])
    run = [sys.executable, "-m", "pomai"]
    done = subprocess.run([*run, "--version"], capture_output=True, text=True, check=False)
    if "built without" in done.stderr:
        pytest.skip("the package was built without the command line program")
    assert done.returncode == 0 and pomai.__version__ in done.stdout
    done = subprocess.run([*run, "verify", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_is_left_open(path: str) -> None:
    """A database whose last reference goes is closed."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        db = pomai.open(path, **SMALL)  # type: ignore[arg-type]
        c, shot = db.collection("c", 2), db.snapshot()
        c.add([[1, 2]])
        del db, c, shot
    assert len(os.listdir("/proc/self/fd")) == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

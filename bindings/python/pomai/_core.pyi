# SPDX-License-Identifier: Apache-2.0
"""Types of the extension.

NumPy is no requirement of the package. Where it is installed, arrays are typed as NumPy's; where it is not, its types
below mean Any, and what is returned are memoryviews. Two things only the data say: whether ids are int or str, and
whether what was not included is None. Such attributes are `X | Any`: they can be used as X without a cast.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias, final, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from ._filter import FiltersLike
from ._helpers import Info, Verdict

__version__: str

class _SupportsDLPack(Protocol):
    def __dlpack__(self) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

class _SupportsArray(Protocol):
    def __array__(self) -> Any: ...

_Float32: TypeAlias = npt.NDArray[np.float32]
_Float64: TypeAlias = npt.NDArray[np.float64]
_UInt64: TypeAlias = npt.NDArray[np.uint64]
_Number: TypeAlias = np.floating[Any] | np.integer[Any]

class _SupportsArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

class _SupportsArrowArray(Protocol):
    def __arrow_c_array__(self, requested_schema: Any = None) -> Any: ...

class _Array1D(Protocol):
    @property
    def shape(self) -> tuple[int]: ...
    @property
    def itemsize(self) -> int: ...

class _Array2D(Protocol):
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def itemsize(self) -> int: ...

class _ArrayAny(Protocol):  # five: what passes for this may have any number of dimensions
    @property
    def shape(self) -> tuple[int, int, int, int, int]: ...
    @property
    def itemsize(self) -> int: ...

class _Integer(Protocol):  # np.uint64 and the like
    def __index__(self) -> int: ...
    def bit_count(self) -> int: ...

_Vector: TypeAlias = Sequence[float] | _Array1D
_Matrix: TypeAlias = Sequence[Sequence[float]] | Sequence[_Array1D] | _Array2D
# Arrays whose number of dimensions is not known when types are checked; and buffers, tensors, data frames.
_Exporter: TypeAlias = npt.NDArray[_Number] | Buffer | _SupportsDLPack | _SupportsArray
_Arrow: TypeAlias = _SupportsArrowStream | _SupportsArrowArray
VectorsLike: TypeAlias = _Vector | _Matrix | _Exporter
TableLike: TypeAlias = VectorsLike | _Arrow  # what goes in: vectors alone, or a table that has them

Id: TypeAlias = int | str | bytes | _Integer
IdsLike: TypeAlias = Iterable[int] | Iterable[str] | Iterable[bytes] | npt.NDArray[np.integer[Any]] | Buffer
DocumentsLike: TypeAlias = str | bytes | Iterable[str | bytes | None]
# Of a table also the columns that become metadata.
MetadataLike: TypeAlias = Mapping[str, Any] | Iterable[Mapping[str, Any] | None] | Iterable[str] | _Arrow
ExpiryLike: TypeAlias = (
    int
    | str  # the column of a table
    | datetime.date  # or a datetime
    | np.integer[Any]
    | Sequence[int | None]
    | Sequence[datetime.date | None]
    | Iterator[int | None]
    | Iterator[datetime.date | None]
    | npt.NDArray[np.integer[Any]]
    | npt.NDArray[np.datetime64]
    | np.datetime64
    | _Arrow
)
AnyPath: TypeAlias = str | bytes | PathLike[str] | PathLike[bytes]
DType: TypeAlias = (
    Literal["float32", "float16", "int8"]
    | type[np.float32 | np.float16 | np.int8]
    | np.dtype[np.float32]
    | np.dtype[np.float16]
    | np.dtype[np.int8]
)
Mode: TypeAlias = Literal["latest", "bounded"]
Durability: TypeAlias = Literal["default", "sync", "group", "os"]
Field: TypeAlias = Literal[
    "id", "ids", "distance", "distances", "document", "documents", "metadata", "vector", "vectors", "plan"
]

@final
class Hit:
    @property
    def id(self) -> int | Any: ...
    @property
    def distance(self) -> float: ...
    @property
    def document(self) -> str | Any: ...
    @property
    def metadata(self) -> dict[str, Any] | Any: ...
    @property
    def vector(self) -> _Float32 | Any: ...

@final
class Result:
    @property
    def ids(self) -> _UInt64 | Any: ...
    @property
    def distances(self) -> _Float64: ...
    @property
    def vectors(self) -> _Float32 | Any: ...
    @property
    def documents(self) -> list[str | Any]: ...
    @property
    def metadata(self) -> list[dict[str, Any] | Any]: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def plan(self) -> dict[str, Any] | Any: ...
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> Hit: ...
    def __iter__(self) -> Iterator[Hit]: ...

@final
class Results:
    @property
    def ids(self) -> _UInt64 | Any: ...
    @property
    def distances(self) -> _Float64: ...
    @property
    def vectors(self) -> list[_Float32 | Any]: ...
    @property
    def documents(self) -> list[list[str | Any]]: ...
    @property
    def metadata(self) -> list[list[dict[str, Any] | Any]]: ...
    @property
    def plan(self) -> dict[str, Any] | Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> Result: ...
    def __iter__(self) -> Iterator[Result]: ...

@final
class Row:
    @property
    def id(self) -> int | Any: ...
    @property
    def vector(self) -> _Float32 | Any: ...
    @property
    def document(self) -> str | Any: ...
    @property
    def metadata(self) -> dict[str, Any] | Any: ...
    @property
    def stamp(self) -> int: ...
    @property
    def expiry(self) -> int | None: ...

@final
class Rows:
    @property
    def ids(self) -> list[Any]: ...
    @property
    def found(self) -> list[bool]: ...
    @property
    def vectors(self) -> _Float32 | Any: ...
    @property
    def documents(self) -> list[str | Any]: ...
    @property
    def metadata(self) -> list[dict[str, Any] | Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> Row | None: ...
    def __iter__(self) -> Iterator[Row | None]: ...
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...

@final
class Scan:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Rows: ...
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Block:
    @property
    def vectors(self) -> _Float32 | Any: ...
    @property
    def ids(self) -> _UInt64: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Snapshot:
    def digest(self) -> str: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

class Collection:
    def __contains__(self, id: Id, /) -> bool: ...
    def add(
        self,
        vectors: TableLike,
        ids: Id | IdsLike | None = None,
        documents: DocumentsLike | None = None,
        metadata: MetadataLike | None = None,
        expiry: ExpiryLike | None = None,
        durability: Durability | None = None,
        deadline_ms: float | None = None,
        *,
        column: str | None = None,
    ) -> Any: ...
    def add_batch(
        self,
        vectors: TableLike,
        ids: Id | IdsLike | None = None,
        documents: DocumentsLike | None = None,
        metadata: MetadataLike | None = None,
        expiry: ExpiryLike | None = None,
        durability: Durability | None = None,
        deadline_ms: float | None = None,
        *,
        column: str | None = None,
    ) -> Any: ...
    def upsert(
        self,
        vectors: TableLike,
        ids: Id | IdsLike | None = None,
        documents: DocumentsLike | None = None,
        metadata: MetadataLike | None = None,
        expiry: ExpiryLike | None = None,
        durability: Durability | None = None,
        deadline_ms: float | None = None,
        *,
        column: str | None = None,
    ) -> Any: ...
    @overload
    def get(  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
        self,
        ids: Id,
        *,
        vectors: bool = True,
        documents: bool = True,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        filters: None = None,
        limit: None = None,
    ) -> Row | None: ...
    @overload
    def get(
        self,
        ids: IdsLike,
        *,
        vectors: bool = True,
        documents: bool = True,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        filters: None = None,
        limit: None = None,
    ) -> Rows: ...
    @overload
    def get(
        self,
        ids: None = None,
        *,
        filters: FiltersLike,
        limit: int | None = None,
        vectors: bool = True,
        documents: bool = True,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
    ) -> Rows: ...
    @overload
    def update(
        self,
        ids: Id | IdsLike,
        *,
        metadata: MetadataLike | None = None,
        documents: DocumentsLike | None = None,
        filters: None = None,
        merge: bool | None = None,
        durability: Durability | None = None,
        deadline_ms: float | None = None,
    ) -> int: ...
    @overload
    def update(
        self,
        ids: None = None,
        *,
        filters: FiltersLike,
        metadata: Mapping[str, Any] | None = None,
        documents: str | bytes | None = None,
        merge: bool | None = None,
        durability: Durability | None = None,
        deadline_ms: float | None = None,
    ) -> int: ...
    @overload
    def delete(
        self,
        ids: Id | IdsLike,
        *,
        durability: Durability | None = None,
        deadline_ms: float | None = None,
        filters: None = None,
    ) -> int: ...
    @overload
    def delete(
        self,
        ids: None = None,
        *,
        filters: FiltersLike,
        durability: Durability | None = None,
        deadline_ms: float | None = None,
    ) -> int: ...
    @overload
    def search(
        self,
        vectors: _ArrayAny,
        k: int = 10,
        *,
        filters: FiltersLike | None = None,
        include: Field | Iterable[Field] | None = (),
        deadline_ms: float | None = None,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        exact: bool | None = None,
        recall: float | None = None,
        ef: int | None = None,
    ) -> Any: ...
    @overload
    def search(
        self,
        vectors: _Vector,
        k: int = 10,
        *,
        filters: FiltersLike | None = None,
        include: Field | Iterable[Field] | None = (),
        deadline_ms: float | None = None,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        exact: bool | None = None,
        recall: float | None = None,
        ef: int | None = None,
    ) -> Result: ...
    @overload
    def search(
        self,
        vectors: _Matrix,
        k: int = 10,
        *,
        filters: FiltersLike | None = None,
        include: Field | Iterable[Field] | None = (),
        deadline_ms: float | None = None,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        exact: bool | None = None,
        recall: float | None = None,
        ef: int | None = None,
    ) -> Results: ...
    @overload
    def search(
        self,
        vectors: _Exporter,
        k: int = 10,
        *,
        filters: FiltersLike | None = None,
        include: Field | Iterable[Field] | None = (),
        deadline_ms: float | None = None,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        exact: bool | None = None,
        recall: float | None = None,
        ef: int | None = None,
    ) -> Any: ...
    @overload
    def search(
        self,
        *,
        vector: VectorsLike,
        k: int = 10,
        filters: FiltersLike | None = None,
        include: Field | Iterable[Field] | None = (),
        deadline_ms: float | None = None,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        exact: bool | None = None,
        recall: float | None = None,
        ef: int | None = None,
    ) -> Any: ...
    def scan(
        self,
        *,
        batch_rows: int | None = None,
        vectors: bool = True,
        documents: bool = True,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        binary: bool = False,
        filters: FiltersLike | None = None,
    ) -> Scan: ...
    def to_arrow(
        self,
        *,
        batch_rows: int | None = None,
        vectors: bool = True,
        documents: bool = True,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        binary: bool = False,
        filters: FiltersLike | None = None,
        metadata: Literal["documents", "columns"] | None = "documents",
        columns: Iterable[str] | None = None,
    ) -> Any: ...
    def __iter__(self) -> Iterator[Row]: ...
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...
    def reserve(self, rows: int, dim: int | None = None) -> Block: ...
    def count(
        self,
        *,
        filters: FiltersLike | None = None,
        snapshot: Snapshot | None = None,
        mode: Mode = "latest",
        deadline_ms: float | None = None,
    ) -> int: ...
    def freeze(self) -> None: ...
    def flush(self) -> None: ...
    def compact(self) -> None: ...
    def build_indexes(self) -> None: ...
    def close(self) -> None: ...
    @property
    def info(self) -> Info: ...
    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Database(Collection):
    @property
    def path(self) -> AnyPath: ...
    def collection(
        self,
        name: str,
        dim: int | None = None,
        *,
        metric: Literal["l2", "ip", "cosine"] | None = None,
        ids: Literal["u64", "string"] | None = None,
        ttl: float | datetime.timedelta | None = None,
        create: bool = True,
        dtype: DType | None = None,
        cluster_by: str | None = None,
        index: str | None = None,
    ) -> Collection: ...
    def collections(self) -> list[str]: ...
    def drop(self, name: str, /) -> None: ...
    def snapshot(self) -> Snapshot: ...
    def sync(self) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def digest(self, snapshot: Snapshot | None = None) -> str: ...

def open(
    path: AnyPath,
    flags: int = 0,
    shards: int = 0,
    group_ms: int = 0,
    search_threads: int = 0,
    mailbox_slots: int = 0,
    wal_file_bytes: int = 0,
    flush_bytes: int = 0,
    log_bytes: int = 0,
    freeze_rows: int = 0,
    segment_bytes: int = 0,
    compact_rate: int = 0,
    scrub_rate: int = 0,
    watch_share: int = 0,
    build_threads: int = 0,
    durability: str = "default",
) -> Database: ...
def document_columns(documents: object, paths: Iterable[str] | None = None) -> tuple[object, object]: ...
def is_every_row(filters: FiltersLike, /) -> bool: ...
def verify(path: AnyPath, progress: Callable[[int, int], object] | None = None) -> dict[str, Any]: ...
def salvage(
    source: AnyPath, target: AnyPath, progress: Callable[[int, int], object] | None = None
) -> dict[str, Any]: ...
def simd_level() -> str: ...
def close_all() -> None: ...

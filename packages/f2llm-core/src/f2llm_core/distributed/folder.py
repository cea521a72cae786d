"""The folder of Parquet files that vectors are written to; its parts are the only truth."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from f2llm_core.distributed.keys import Keys, find, make_keys, repeated, sort_keys
from f2llm_core.errors import F2LLMError, FingerprintError, FingerprintWarning, StoreError, warn
from f2llm_core.fingerprint import Fingerprint, compare
from f2llm_core.matryoshka import Vectors

if TYPE_CHECKING:
    import pyarrow as pa

#: Numbers of a stored vector. float16 halves the files, and cosines stay right to four digits.
VectorDType = Literal["float32", "float16"]

ID, VECTOR, TEXT_HASH = "id", "vector", "text_hash"  # columns

FINGERPRINT = "_fingerprint.json"
_METADATA = b"f2llm_fingerprint"  # of a part's schema
_PARTS = "part-*.parquet"
_UNFINISHED = ".unfinished-"  # readers of Parquet pass over names that begin with a dot


class Removed(NamedTuple):
    """A row that stood twice.

    Attributes:
        id: Of it, and of the one that stays.
        same_text: Whether that one has the same text.
    """

    id: str
    same_text: bool


@dataclass(frozen=True, slots=True)
class VectorFolder:
    """Parts `part-*.parquet`, each written by one process and whole, and the fingerprint of all.

    Attributes:
        path: Of the folder, which every process must see.
        fingerprint: Of the model whose vectors it holds.
        dtype: Of the vectors' numbers.
    """

    path: Path
    fingerprint: Fingerprint
    dtype: VectorDType

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the folder if need be, compare it with the model, and keep other runs out.

        Raises:
            FingerprintError: It holds vectors of another model.
            StoreError: It cannot be used, or another run uses it.
        """
        import filelock

        with _errors(self.path, "opened"):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock")
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                msg = f"{self.path} is being written to by another run; wait for its end."
                raise StoreError(msg) from None
        try:
            with _errors(self.path, "opened"):
                self._stamp()
                self._clear()
            yield
            self._clear()
        finally:
            lock.release()

    def check_visible(self) -> None:
        """Raise `StoreError` unless this process sees the folder as it was opened by another."""
        if not (self.path / FINGERPRINT).exists():
            msg = (
                f"A worker does not see {self.path}. Choose a folder that all nodes of the cluster "
                "share and have under the same path."
            )
            raise StoreError(msg)

    def write(
        self, name: str, ids: Sequence[str], text_hashes: Sequence[bytes], vectors: Vectors
    ) -> None:
        """Write a part, or write it again.

        Args:
            name: Of the part, the same for the same rows.
            ids: n of them, all different.
            text_hashes: n times 8 bytes.
            vectors: `(n, width)` float32.
        """
        import pyarrow as pa

        numbers = pa.array(vectors.astype(self.dtype, copy=False).reshape(-1))
        columns = [
            pa.array(ids, pa.string()),
            pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1]),
            pa.array(text_hashes, pa.binary(8)),
        ]
        table = pa.Table.from_arrays(columns, schema=self.schema)
        self._put(table, self.path / f"part-{name}.parquet")

    @property
    def schema(self) -> pa.Schema:
        """Columns of every part, with the fingerprint as metadata."""
        import pyarrow as pa

        number = {"float32": pa.float32(), "float16": pa.float16()}[self.dtype]
        vector = pa.list_(number, self.fingerprint.dimensions)
        return pa.schema(
            [(ID, pa.string()), (VECTOR, vector), (TEXT_HASH, pa.binary(8))],
            metadata={_METADATA: json.dumps(self.fingerprint.to_dict())},
        )

    def read_keys(self) -> tuple[Keys, list[Removed]]:
        """Read which rows are there, and remove those that stand twice.

        A row stands twice if it came twice, or if a worker died between writing and saying so and
        Ray cut the rows otherwise the second time.

        Returns:
            Sorted keys, and the rows that were removed.

        Raises:
            FingerprintError: A part is of another model.
            StoreError: A part is damaged, or unlike the others.
        """
        found = [self._read(path)[1] for path in self._parts()]
        keys: Keys = np.concatenate([np.empty((0, 3), dtype=np.uint64), *found])
        del found
        sort_keys(keys)
        twice = repeated(keys)
        if not len(twice):
            return keys, []
        removed = self._remove(twice)
        return self.read_keys()[0], removed

    def _remove(self, twice: Keys) -> list[Removed]:
        """Leave only the row of each id that was written first."""
        stays: dict[str, bytes] = {}
        removed: list[Removed] = []
        for path in sorted(self._parts(), key=lambda path: path.stat().st_mtime_ns):
            ids, keys = self._read(path)
            keep = np.ones(len(ids), dtype=np.bool_)
            for row in np.flatnonzero(find(twice, keys)[0]).tolist():
                id_, text = ids[row], keys[row, 2].tobytes()
                if id_ in stays:
                    keep[row] = False
                    removed.append(Removed(id_, stays[id_] == text))
                stays.setdefault(id_, text)
            if not keep.all():
                self._keep_rows(path, keep)
        return removed

    def _keep_rows(self, path: Path, keep: npt.NDArray[np.bool_]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if keep.any():
            self._put(pq.ParquetFile(path).read().filter(pa.array(keep)), path)
        else:
            path.unlink()

    def _parts(self) -> list[Path]:
        return sorted(self.path.glob(_PARTS))

    def _read(self, path: Path) -> tuple[list[str], Keys]:
        """Return the ids and keys of a part, once it is known to be one of these."""
        import pyarrow.parquet as pq

        with _errors(path, "read"), pq.ParquetFile(path) as part:
            self._check_part(path, part.schema_arrow)
            table = part.read([ID, TEXT_HASH])
            ids: list[str] = table.column(ID).to_pylist()
            return ids, make_keys(ids, table.column(TEXT_HASH).to_pylist())

    def _check_part(self, path: Path, schema: pa.Schema) -> None:
        stamp = (schema.metadata or {}).get(_METADATA)
        if stamp is None:
            msg = f"{path} was not written by f2llm. Remove it, or choose another folder."
            raise StoreError(msg)
        self._check(json.loads(stamp), str(path))
        found, mine = schema.field(VECTOR).type, self.schema.field(VECTOR).type
        if found != mine:
            msg = (
                f"{path} holds vectors as {found}, this run writes {mine}. Pass the other "
                "vector_dtype, or choose another folder."
            )
            raise StoreError(msg)

    def _stamp(self) -> None:
        """Compare the folder's fingerprint with the model's, or write it."""
        path = self.path / FINGERPRINT
        if path.exists():
            found = self._check(json.loads(path.read_text("utf-8")), str(self.path))
            if found:
                warn(found, FingerprintWarning)
            return
        content = json.dumps(self.fingerprint.to_dict(), indent=2, ensure_ascii=False)
        unfinished = self.path / f"{_UNFINISHED}{uuid.uuid4().hex}"
        unfinished.write_text(f"{content}\n", encoding="utf-8")
        unfinished.replace(path)

    def _check(self, stamp: dict[str, Any], where: str) -> str:
        """Raise `FingerprintError` for another model; return what else differs."""
        found = compare(self.fingerprint, Fingerprint.from_dict(stamp), where)
        if found.level == "refused":
            raise FingerprintError(found.message)
        return found.message if found.level == "warning" else ""

    def _put(self, table: pa.Table, path: Path) -> None:
        """Write a file that is there whole or not at all, also after a crash of the machine."""
        import pyarrow.parquet as pq

        unfinished = path.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
        with _errors(path, "written"), unfinished.open("wb") as file:
            try:
                # Numbers of vectors hardly ever come twice, so a dictionary of them is of no use.
                pq.write_table(table, file, use_dictionary=False, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove what killed writers left."""
        for left in self.path.glob(f"{_UNFINISHED}*"):
            left.unlink(missing_ok=True)


@contextmanager
def _errors(path: Path, done: str) -> Iterator[None]:
    """Turn what files and Arrow raise into a `StoreError`."""
    import pyarrow as pa

    try:
        yield
    except F2LLMError:
        raise
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        msg = f"{path} cannot be {done}: {error}"
        raise StoreError(msg) from error

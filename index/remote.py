"""The gallery in a PostgreSQL database with pgvector; see `vultus.index.contract.Backend`."""

from __future__ import annotations

import contextlib
import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vultus.index import care, denials, filters, kinds, people, search, transfer
from vultus.index import postgres_schema as schema
from vultus.index.calibration import kept
from vultus.index.contract import IndexFigures, Look
from vultus.index.errors import GalleryCorrupt, NotInDatabase, StorageError, UnknownKind
from vultus.index.loading import bound_to, hidden_people, unpack
from vultus.index.postgres import PostgresStore
from vultus.index.postgres_search import HNSW, DatabaseIndex
from vultus.index.storage import Connection
from vultus.index.types import Report, Where

NO_KEY = (
    "{place}: a server that is to compare vectors has to see them, so a gallery in a database has no key; "
    "encrypt the server's disk, and the way to it with sslmode=verify-full"
)
_KINDS = (kinds.AUTO, kinds.FLAT, kinds.HNSW)
_MOST_DIM = 4000
"""Of pgvector's HNSW over 16-bit numbers."""
_MEMORY = 1 << 30
_ROWS = 4096
_MOST = 20
"""Faces that `verify` names of one sort."""
_FAULTS = {
    "has no vector": "SELECT f.id FROM faces f WHERE NOT EXISTS (SELECT 1 FROM vectors v WHERE v.face = f.id) "
    "AND NOT EXISTS (SELECT 1 FROM lacking n WHERE n.face = f.id)",
    "has a vector of another dim": "SELECT face FROM vectors WHERE vector_dims(vector) <> (SELECT dim FROM gallery)",
    "has a vector that is not of length 1": "SELECT face FROM vectors WHERE NOT abs(vector_norm(vector) - 1) <= 1e-4",
}


class Remote:
    """An open gallery in a database."""

    searches_here = False

    def __init__(self, store: PostgresStore) -> None:
        self.storage = store

    @contextlib.contextmanager
    def looking(self, connection: Connection, where: Where | None) -> Iterator[Look]:
        """Lend an index that asks the database, which shows one state to the end of the loan."""
        connection.steady()
        hidden = frozenset[int]()
        if where is None or where.hidden is False:
            hidden = hidden_people(connection)
        yield Look(
            index=DatabaseIndex(connection, *_terms(connection, where)),
            mask=None,
            left_out=hidden,
            denials=denials.load(connection),
            calibration=kept(connection),
            admits=lambda faces: _admitted(connection, where, faces),
        )

    def near(
        self, connection: Connection, probes: np.ndarray, k: int, threshold: float
    ) -> list[list[tuple[int, float]]]:
        """Return for each probe the nearest people, unknown ones negated, hidden ones too."""
        index = DatabaseIndex(connection, ["f.identity IS NOT NULL"], [])
        wanted = search.Wanted(k=k, threshold=threshold, denials=denials.load(connection))
        return search.people_near(index, probes, wanted, search.reader(connection))

    def figures(self, connection: Connection) -> IndexFigures:
        """Return kind of the index, and what the database keeps."""
        names = ", ".join(f"'{name}'" for name in sorted(schema.NAMES))
        (total,) = connection.execute(
            f"SELECT CAST(sum(pg_total_relation_size(to_regclass(name))) AS BIGINT) "  # noqa: S608 - constants
            f"FROM unnest(ARRAY[{names}]) AS listed (name)"
        ).fetchone()
        faces, vectors, hnsw = connection.execute(
            "SELECT (SELECT count(*) FROM faces), pg_total_relation_size('vectors'), to_regclass(?) IS NOT NULL",
            (HNSW,),
        ).fetchone()
        return IndexFigures(
            index=kinds.HNSW if hnsw else kinds.FLAT,
            bytes_per_vector=vectors // faces if faces else 0,
            last_snapshot=None,
            size_bytes=total,
        )

    def verify(self) -> Report:
        """Check that each face has its vector, and each vector its dim and length; the server looks after the rest."""
        begun = time.perf_counter()
        problems = []
        with self.storage.read() as connection:
            connection.steady()
            faces = _count(connection)
            for what, query in _FAULTS.items():
                found = [face for (face,) in connection.execute(f"{query} ORDER BY 1 LIMIT {_MOST + 1}")]
                problems += [f"face {face} {what}; remove it or restore a dump" for face in found[:_MOST]]
                if len(found) > _MOST:
                    problems.append(f"more faces of which each {what}")
            problems += people.miscounted(connection, _MOST)
        return Report(faces=faces, problems=tuple(problems), seconds=time.perf_counter() - begun)

    def convert(self, kind: str, memory: int | None, recall: float | None) -> str:
        """Make or drop the HNSW index, while searches and writes go on; `memory` is what making it may take."""
        if kind not in _KINDS:
            raise UnknownKind(f"a gallery in a database has an index of the kinds {', '.join(_KINDS)}, not {kind}")
        if recall is not None:
            raise ValueError("no recall can be asked of an index in a database")
        wanted = self._make(kind, memory)
        with self.storage.write() as change:
            change.execute("UPDATE gallery SET index_kind = ?, memory = ?", (kind, memory))
        return wanted

    def _make(self, kind: str, memory: int | None) -> str:
        """Make or drop the index as `kind` wants it; return which kind there is then."""
        with self.storage.read() as connection:
            dim = bound_to(connection)[2] or 1
            faces = _count(connection)
        wanted = kind
        if kind == kinds.AUTO:
            wanted = kinds.HNSW if faces * dim > kinds.MOST_FLAT and dim <= _MOST_DIM else kinds.FLAT
        if wanted == kinds.HNSW and dim > _MOST_DIM:
            raise UnknownKind(f"pgvector's HNSW has up to {_MOST_DIM} numbers a vector, this gallery {dim}; use flat")
        self._index(wanted, dim, memory or _MEMORY)
        return wanted

    def _index(self, kind: str, dim: int, memory: int) -> None:
        with self.storage.read() as connection:
            (valid,) = connection.execute(
                "SELECT (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(?))", (HNSW,)
            ).fetchone()
        if kind == kinds.FLAT or valid is False:  # not valid: its making was broken off
            self.storage.maintain([f"DROP INDEX CONCURRENTLY IF EXISTS {HNSW}"])
        if kind == kinds.HNSW and not valid:
            self.storage.maintain(
                [
                    f"SET maintenance_work_mem = '{max(1 << 20, memory) >> 10}kB'",
                    f"CREATE INDEX CONCURRENTLY {HNSW} ON vectors "
                    f"USING hnsw ((CAST(vector AS halfvec({dim}))) halfvec_ip_ops) WITH (m = 16, ef_construction = 100)",
                ]
            )

    def set_key(self, key: bytes | None) -> None:  # noqa: ARG002 - there is none
        """Refuse."""
        raise NotInDatabase(NO_KEY.format(place=self.storage.place))

    def exchange_vectors(self, connection: Connection) -> None:
        """Put the vectors of the next model in place of those of this one; searches see the old ones until the commit."""
        self.storage.maintain([f"DROP INDEX CONCURRENTLY IF EXISTS {HNSW}"])  # of so many numbers as the old ones have
        (dim,) = connection.execute("SELECT dim FROM migration").fetchone()
        connection.execute("DELETE FROM vectors")
        last = 0
        while rows := connection.execute(
            "SELECT face, vector FROM next_vectors WHERE face > ? ORDER BY face LIMIT ?", (last, _ROWS)
        ).fetchall():
            faces, packed = zip(*rows, strict=True)
            vectors, bad = unpack(packed, dim)
            if len(bad):
                raise GalleryCorrupt(f"the new vector of face {faces[bad[0]]} is damaged; abandon the migration")
            connection.add_vectors(faces, vectors)
            last = faces[-1]
        connection.execute("DELETE FROM lacking")
        connection.execute("INSERT INTO lacking SELECT face, reason FROM next_lacking")
        for table in ("next_vectors", "next_lacking"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant

    def moved_to(self, model: str) -> None:
        """Expect this model from now on, and make the index that the gallery wants of its vectors."""
        self.storage.moved_to(model)
        with self.storage.read() as connection:
            kind, memory = connection.execute("SELECT index_kind, memory FROM gallery").fetchone()
        if kind != kinds.FLAT:
            self._make(kind, memory)

    def backup(self, target: Path) -> int:
        """Copy the gallery as it is at one moment into a new file, the same as of a gallery in a folder."""
        with care.new_file(target) as temporary, self.storage.read() as connection, care.blank(temporary) as copy:
            connection.steady()
            transfer.copy(connection, copy)
        return target.stat().st_size

    def compact(self) -> int:
        """Write the tables anew without what was deleted; each is locked meanwhile."""
        with self.storage.read() as connection:
            before = self.figures(connection).size_bytes
        self.storage.maintain([f"VACUUM (FULL, ANALYZE) {name}" for name in sorted(schema.NAMES)])
        with self.storage.read() as connection:
            return before - self.figures(connection).size_bytes

    def snapshot(self) -> None:
        """Do nothing: opening loads nothing."""

    def close(self, *, snapshot: bool | None) -> None:  # noqa: ARG002 - there is none
        """Give everything back."""
        self.storage.close()


def restore(source: Path, store: PostgresStore) -> None:
    """Fill a gallery in a database, one in which there is nothing yet, from the backup `source`, checked before."""
    with care.opened_backup(source) as given, store.write() as connection:
        (rows,) = connection.execute(
            "SELECT CAST(sum(there) AS BIGINT) FROM (SELECT count(*) AS there FROM identities "
            "UNION ALL SELECT count(*) FROM faces UNION ALL SELECT count(*) FROM files "
            "UNION ALL SELECT count(*) FROM sightings) listed"
        ).fetchone()
        if rows:
            raise StorageError(
                f"there is a gallery in {store.place} already; nothing was changed, restore with another ?schema=NAME",
                errno.EEXIST,
            )
        transfer.copy(given, connection)


def _terms(connection: Connection, where: Where | None) -> tuple[list[str], list[object]]:
    """Return SQL about faces `f` and their identities `i`, and its parameters. Raises UnknownIdentity."""
    if where is None:
        return [], []
    terms, values = filters.terms(where)
    if where.labelled is not None:
        terms.append(f"i.name IS {'NOT ' if where.labelled else ''}NULL")
    if where.people is not None:
        terms.append("f.identity IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([people.find(connection, key)[0] for key in where.people]))
    if where.hidden:
        terms.append("i.hidden = 1")
    return terms, values


def _admitted(connection: Connection, where: Where | None, faces: np.ndarray) -> np.ndarray:
    """Return which of the faces `where` admits by their columns."""
    terms, values = ([], []) if where is None else filters.terms(where)
    if not terms:
        return np.ones(len(faces), bool)
    query = f"SELECT id FROM faces WHERE id IN (SELECT value FROM json_each(?)) AND {' AND '.join(terms)}"  # noqa: S608
    found = [face for (face,) in connection.execute(query, (json.dumps(faces.tolist()), *values))]
    return np.isin(faces, np.array(found, np.int64))


def _count(connection: Connection) -> int:
    (faces,) = connection.execute("SELECT count(*) FROM faces").fetchone()
    return int(faces)

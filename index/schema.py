"""The tables of format 4, and the checks that a database is one of ours.

`docs/gallery.md` describes the tables to users of the file. A change to them raises `FORMAT` and comes with a step that
turns the older format into the newer one, and with a stored file of the older one under `tests/index/data/`.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable

from vultus.index.errors import GalleryCorrupt, UnknownFormat
from vultus.index.names import folded

APPLICATION_ID = 0x56554C54  # "VULT"
FORMAT = 4

PAGE_SIZE = 16384
"""With SQLite's usual 4 KiB a row with a 512-number vector leaves half of every page empty, with 8 KiB a quarter, which all
goes through the log too. Galleries made before have 8 KiB, and keep them."""

_FIRST = """
CREATE TABLE gallery (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    uid      BLOB NOT NULL CHECK (length(uid) = 16),
    model    TEXT,
    dim      INTEGER CHECK (dim BETWEEN 1 AND 8192),
    created  REAL NOT NULL,
    index_kind TEXT NOT NULL DEFAULT 'auto',
    memory     INTEGER CHECK (memory > 0),
    gathered   INTEGER NOT NULL DEFAULT 0,
    sealed     BLOB CHECK (length(sealed) = 60)
) STRICT;

CREATE TABLE identities (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT UNIQUE,
    created  REAL NOT NULL,
    hidden   INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1))
) STRICT;

CREATE TABLE files (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    source   TEXT NOT NULL UNIQUE,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    digest   BLOB NOT NULL,
    label    TEXT,
    status   TEXT NOT NULL CHECK (status IN ('done', 'refused')),
    reason   TEXT,
    faces    INTEGER NOT NULL,
    at       REAL NOT NULL
) STRICT;

CREATE TABLE faces (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    identity  INTEGER REFERENCES identities (id) ON DELETE CASCADE,
    file      INTEGER REFERENCES files (id) ON DELETE CASCADE,
    source    TEXT NOT NULL,
    position  REAL,
    time      REAL,
    box_x     REAL,
    box_y     REAL,
    box_w     REAL,
    box_h     REAL,
    landmarks BLOB CHECK (length(landmarks) = 40),
    score     REAL,
    quality   REAL,
    track     INTEGER,
    created   REAL NOT NULL,
    collection TEXT
) STRICT;
CREATE INDEX faces_by_identity ON faces (identity) WHERE identity IS NOT NULL;
CREATE INDEX faces_by_file ON faces (file) WHERE file IS NOT NULL;
CREATE INDEX faces_by_source ON faces (source, time);

CREATE TABLE vectors (
    face   INTEGER PRIMARY KEY REFERENCES faces (id) ON DELETE CASCADE,
    vector BLOB NOT NULL
) STRICT;

CREATE TABLE chips (
    face INTEGER PRIMARY KEY REFERENCES faces (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL
) STRICT;

CREATE TABLE sightings (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    run        TEXT NOT NULL,
    source     TEXT NOT NULL,
    track      INTEGER NOT NULL,
    time       REAL NOT NULL,
    position   REAL,
    identity   INTEGER REFERENCES identities (id) ON DELETE CASCADE,
    similarity REAL,
    box_x      REAL,
    box_y      REAL,
    box_w      REAL,
    box_h      REAL,
    quality    REAL,
    UNIQUE (run, source, track)
) STRICT;
CREATE INDEX sightings_by_identity ON sightings (identity) WHERE identity IS NOT NULL;

CREATE TABLE changes (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    mark   INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    faces  INTEGER NOT NULL,
    at     REAL NOT NULL,
    writer TEXT NOT NULL
) STRICT;
"""

_SECOND = """
CREATE INDEX faces_by_collection ON faces (collection) WHERE collection IS NOT NULL;
CREATE INDEX identities_without_name ON identities (id) WHERE name IS NULL;
CREATE INDEX identities_hidden ON identities (id) WHERE hidden = 1;
CREATE INDEX sightings_by_source ON sightings (source, time);

CREATE TABLE denials (
    identity INTEGER NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    face     INTEGER REFERENCES faces (id) ON DELETE CASCADE,
    other    INTEGER REFERENCES identities (id) ON DELETE CASCADE,
    at       REAL NOT NULL,
    CHECK ((face IS NULL) <> (other IS NULL)),
    UNIQUE (identity, face),
    UNIQUE (identity, other)
) STRICT;

CREATE TABLE acts (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   TEXT NOT NULL,
    at     REAL NOT NULL,
    detail TEXT NOT NULL,
    undone REAL
) STRICT;

CREATE TABLE calibration (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    at     REAL NOT NULL,
    result TEXT NOT NULL
) STRICT;

CREATE TABLE lacking (
    face   INTEGER PRIMARY KEY REFERENCES faces (id) ON DELETE CASCADE,
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE migration (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    model   TEXT NOT NULL,
    dim     INTEGER NOT NULL CHECK (dim BETWEEN 1 AND 8192),
    started REAL NOT NULL
) STRICT;

CREATE TABLE next_vectors (
    face   INTEGER PRIMARY KEY REFERENCES faces (id) ON DELETE CASCADE,
    vector BLOB NOT NULL
) STRICT;

CREATE TABLE next_lacking (
    face   INTEGER PRIMARY KEY REFERENCES faces (id) ON DELETE CASCADE,
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    actor     TEXT NOT NULL,
    program   TEXT NOT NULL,
    operation TEXT NOT NULL,
    people    TEXT NOT NULL,
    faces     INTEGER NOT NULL,
    k         INTEGER,
    threshold REAL
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
"""
"""What format 2 has and format 1 had not."""

_THIRD = """
CREATE TABLE shots (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    sighting INTEGER NOT NULL REFERENCES sightings (id) ON DELETE CASCADE,
    time     REAL NOT NULL,
    position REAL,
    quality  REAL,
    jpeg     BLOB NOT NULL
) STRICT;
CREATE INDEX shots_by_sighting ON shots (sighting);
CREATE INDEX shots_by_time ON shots (time);
CREATE INDEX sightings_by_time ON sightings (time);
"""
"""What came with format 3."""

_FOURTH = """
ALTER TABLE identities ADD COLUMN folded TEXT;
ALTER TABLE identities ADD COLUMN faces INTEGER NOT NULL DEFAULT 0;
CREATE INDEX people_by_name ON identities (folded) WHERE name IS NOT NULL;
CREATE INDEX people_by_number ON identities (id) WHERE name IS NOT NULL;
CREATE INDEX people_by_faces ON identities (-faces) WHERE name IS NOT NULL;
CREATE INDEX unknown_by_faces ON identities (-faces) WHERE folded IS NULL;

CREATE INDEX faces_by_quality ON faces (identity, -coalesce(quality, -1.0)) WHERE identity IS NOT NULL;
DROP INDEX faces_by_collection;
CREATE INDEX faces_by_collection ON faces (collection, identity) WHERE collection IS NOT NULL;
DROP INDEX sightings_by_identity;
CREATE INDEX sightings_by_identity ON sightings (identity, time) WHERE identity IS NOT NULL;
DROP INDEX sightings_by_time;
CREATE INDEX sightings_by_time ON sightings (time, identity);
CREATE INDEX sightings_of_nobody ON sightings (time) WHERE identity IS NULL;

ALTER TABLE changes ADD COLUMN actor TEXT;
ALTER TABLE changes ADD COLUMN via TEXT;
CREATE INDEX changes_by_time ON changes (at);
ALTER TABLE audit ADD COLUMN via TEXT;
"""
"""What came with format 4."""

_FOURTH_FILLED = """
UPDATE identities SET folded = folded(name), faces = (SELECT count(*) FROM faces f WHERE f.identity = identities.id);
UPDATE changes SET actor = substr(writer, 1, instr(writer, ', process ') - 1),
    writer = substr(writer, instr(writer, ', process ') + 2) WHERE instr(writer, ', process ') > 0;
"""

TABLES = _FIRST + _SECOND + _THIRD + _FOURTH

_FIRST_WIDENED = """
ALTER TABLE gallery ADD COLUMN index_kind TEXT NOT NULL DEFAULT 'auto';
ALTER TABLE gallery ADD COLUMN memory INTEGER CHECK (memory > 0);
ALTER TABLE gallery ADD COLUMN gathered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gallery ADD COLUMN sealed BLOB CHECK (length(sealed) = 60);
ALTER TABLE faces ADD COLUMN collection TEXT;

CREATE TABLE wider_identities (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT UNIQUE,
    created  REAL NOT NULL,
    hidden   INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1))
) STRICT;
INSERT INTO wider_identities SELECT id, name, created, 0 FROM identities;
INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq)
    SELECT (SELECT rowid FROM sqlite_sequence WHERE name = 'wider_identities'), 'wider_identities', seq
    FROM sqlite_sequence WHERE name = 'identities';
DROP TABLE identities;
ALTER TABLE wider_identities RENAME TO identities;

CREATE TABLE wider_changes (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    mark   INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    faces  INTEGER NOT NULL,
    at     REAL NOT NULL,
    writer TEXT NOT NULL
) STRICT;
INSERT INTO wider_changes SELECT * FROM changes;
DROP TABLE changes;
ALTER TABLE wider_changes RENAME TO changes
"""

_STEPS = {1: ";".join((_FIRST_WIDENED, _SECOND)), 2: _THIRD, 3: _FOURTH + _FOURTH_FILLED}
"""What makes of each older format the next."""


def create(connection: sqlite3.Connection, writer: str, sealed: Callable[[bytes], bytes] | None = None) -> None:
    """Make the tables, inside the caller's transaction, unless another process was faster.

    `sealed` makes of the gallery's uid what `gallery.sealed` is to hold.
    """
    if _number(connection, "application_id"):
        return
    for statement in TABLES.split(";"):
        connection.execute(statement)
    now = time.time()
    uid = secrets.token_bytes(16)
    connection.execute(
        "INSERT INTO gallery (one, uid, created, sealed) VALUES (1, ?, ?, ?)", (uid, now, sealed and sealed(uid))
    )
    connection.execute(
        "INSERT INTO changes VALUES (1, ?, 'created', 0, 0, 0, ?, ?, NULL, NULL)", (secrets.randbits(63), now, writer)
    )
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def upgrade(connection: sqlite3.Connection) -> None:
    """Turn an older format into this one; nothing happens to this one."""
    if _number(connection, "user_version") == FORMAT:
        return
    connection.create_function("folded", 1, lambda name: None if name is None else folded(name), deterministic=True)
    connection.execute("PRAGMA foreign_keys = OFF")  # a table that is laid anew would take its people's faces with it
    try:
        connection.execute("BEGIN IMMEDIATE")
        for version in range(_number(connection, "user_version"), FORMAT):  # another process may have been faster
            for statement in _STEPS[version].split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute("PRAGMA foreign_keys = ON")


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether the database is empty: new, or left by a process that died while making it."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return not tables and not _number(connection, "application_id")


def check(connection: sqlite3.Connection, where: str, *, upgraded: bool = False) -> None:
    """Raise UnknownFormat or GalleryCorrupt unless the database is a gallery that this program reads.

    With `upgraded`, one of an older format is refused as well, because it cannot be written.
    """
    application, version = _number(connection, "application_id"), _number(connection, "user_version")
    if application != APPLICATION_ID:
        raise UnknownFormat(f"{where} is an SQLite database of another program, not a gallery; choose another folder")
    if version > FORMAT:
        raise UnknownFormat(
            f"{where} has gallery format {version}, this program reads up to {FORMAT}: "
            "a newer vultus wrote it; upgrade vultus to open it"
        )
    if upgraded and 1 <= version < FORMAT:
        raise UnknownFormat(
            f"{where} has gallery format {version}, which becomes {FORMAT} at the first opening, but may only be read; "
            "open it once where it may be written"
        )
    if version < 1:
        raise GalleryCorrupt(f"{where} says it has gallery format {version}, which never existed; restore a backup")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)

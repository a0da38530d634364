"""The tables of the server's file. `user_version` tells its format; each entry of `STEPS` brings it one further."""

from __future__ import annotations

import sqlite3

from vultus.server.errors import ServerDataError

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE secrets (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;  -- vault.py

    CREATE TABLE users (  -- users.py
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE, role TEXT NOT NULL,
        password TEXT NOT NULL, created REAL NOT NULL, last_login REAL
    ) STRICT;
    CREATE TABLE sessions (  -- sessions.py
        digest BLOB PRIMARY KEY, user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, begun REAL NOT NULL,
        seen REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sessions_of_user ON sessions (user);
    CREATE TABLE keys (  -- keys.py
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, role TEXT NOT NULL, areas TEXT NOT NULL,
        secret TEXT NOT NULL, created REAL NOT NULL, created_by TEXT NOT NULL, expires REAL, last_used REAL,
        last_address TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE security (  -- trail.py
        id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, address TEXT NOT NULL,
        what TEXT NOT NULL, about TEXT NOT NULL
    ) STRICT;
    CREATE TABLE cameras (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        configured INTEGER NOT NULL,
        enabled INTEGER NOT NULL,
        view TEXT NOT NULL,
        created REAL NOT NULL,
        UNIQUE (name, configured)
    ) STRICT;

    CREATE TABLE events (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        kind     TEXT NOT NULL,
        written  REAL NOT NULL,
        time     REAL NOT NULL,
        source   TEXT,
        identity INTEGER,
        visit    TEXT,
        rule     INTEGER,
        payload  BLOB NOT NULL
    ) STRICT;
    CREATE INDEX events_by_visit ON events (visit) WHERE visit IS NOT NULL;
    CREATE INDEX events_by_rule ON events (rule, time) WHERE rule IS NOT NULL;
    CREATE TABLE rules (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        title   TEXT NOT NULL UNIQUE,
        rule    TEXT NOT NULL,
        created REAL NOT NULL
    ) STRICT;
    CREATE TABLE webhooks (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        title       TEXT NOT NULL UNIQUE,
        place       TEXT NOT NULL,
        wanted      TEXT NOT NULL,
        enabled     INTEGER NOT NULL,
        created     REAL NOT NULL,
        cursor      INTEGER NOT NULL,
        attempts    INTEGER NOT NULL DEFAULT 0,
        due         REAL NOT NULL DEFAULT 0,
        missed      INTEGER NOT NULL DEFAULT 0,
        last_at     REAL,
        last_status INTEGER,
        last_reason TEXT
    ) STRICT;
    CREATE TABLE dead_letters (
        webhook  INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
        event    INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
        reason   TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        at       REAL NOT NULL,
        again    INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (webhook, event)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX dead_letters_by_event ON dead_letters (event);
    CREATE TABLE picture_sizes (
        source TEXT PRIMARY KEY, width INTEGER NOT NULL, height INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE mqtt_retained (topic TEXT PRIMARY KEY, identity INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE cursors (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;

    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        state TEXT NOT NULL,
        by TEXT NOT NULL,
        created REAL NOT NULL,
        started REAL,
        ended REAL,
        total INTEGER,
        seen INTEGER NOT NULL DEFAULT 0,
        counts TEXT NOT NULL DEFAULT '{}',
        note TEXT NOT NULL DEFAULT '',
        error TEXT,
        options TEXT NOT NULL
    ) STRICT;
    CREATE INDEX jobs_waiting ON jobs (state, id);
    CREATE TABLE job_refusals (
        id INTEGER PRIMARY KEY,
        job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
        source TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE INDEX job_refusals_of ON job_refusals (job, id);
    """,
)


def bring_up(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older program up. Raises ServerDataError for those of a newer one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(STEPS):
        raise ServerDataError(f"a newer vultus wrote this (format {version}, this one knows {len(STEPS)})")
    for number, step in enumerate(STEPS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")

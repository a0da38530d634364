"""The tables of the server's file. `user_version` tells its format; each entry of `STEPS` brings it one further."""

from __future__ import annotations

import sqlite3

from vultus.server.errors import ServerDataError

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE secrets (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;  -- vault.py
    """,
)


def bring_up(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older program up. Raises ServerDataError for those of a newer one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(STEPS):
        raise ServerDataError(f"a newer vultus wrote this (format {version}, this one knows {len(STEPS)})")
    for number, step in enumerate(STEPS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")

"""The address of a gallery in a database, taken apart."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from vultus.configs import DatabaseUrl

_SCHEMA = "vultus"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_OPTIONS = frozenset(
    [
        "host",
        "port",
        "user",
        "password",
        "passfile",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslcrl",
        "channel_binding",
        "connect_timeout",
        "target_session_attrs",
        "application_name",
        "require_auth",
        "gssencmode",
    ]
)


def parsed(url: DatabaseUrl) -> tuple[dict[str, str], str]:
    """Return what libpq is to be told, and the schema of the gallery.

    The form is `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME&sslmode=require`; all but the database may be
    left out, and come from libpq's own places then (PGPASSWORD, ~/.pgpass). Raises ValueError, which shows nothing that
    could be a part of a password.
    """
    hint = "write postgresql://USER@HOST:PORT/DATABASE, and in user and password %40 for @, %3A for :, %2F for /, %3F for ?"
    try:
        parts = urlsplit(url.reveal())
        port = parts.port
        pairs = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError(f"{url} is no address of a database; {hint}") from None
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database or "@" in parts.path + parts.query + parts.fragment or parts.fragment:
        raise ValueError(f"{url} is no address of a database; {hint}")
    schema = pairs.pop("schema", _SCHEMA)
    if not _NAME.fullmatch(schema):
        raise ValueError(f"{url}: schema is a name of small letters, digits and _, not {schema!a}")
    unknown = sorted(pairs.keys() - _OPTIONS)
    if unknown:
        raise ValueError(f"{url}: {unknown[0]!a} is none of the options {', '.join(sorted(_OPTIONS))}, schema")
    options = {
        "host": parts.hostname and unquote(parts.hostname),
        "port": port and str(port),
        "user": parts.username and unquote(parts.username),
        "password": parts.password and unquote(parts.password),
        "dbname": database,
        **pairs,
    }
    return {name: value for name, value in options.items() if value}, schema

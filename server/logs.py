"""The server's log: one line an event on standard error, for people or, as JSON, for programs."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from vultus.configs.address import redact_text


class _Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message, what belongs to it, and the error if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact_text(record.getMessage()),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["error"] = redact_text(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


class _Text(logging.Formatter):
    """A line for people, with what belongs to it behind."""

    def format(self, record: logging.LogRecord) -> str:
        about = getattr(record, "about", {})
        behind = "".join(
            f" {name}={value}" for name, value in about.items() if name not in ("method", "route", "status")
        )
        return redact_text(super().format(record)) + behind


def begin(style: Literal["text", "json"]) -> None:
    """Let everything that vultus logs from now on go to standard error. Addresses of cameras lose their passwords."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("vultus")
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False

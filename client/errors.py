"""What can go wrong between client and server; every class is also the builtin that callers would catch."""

from __future__ import annotations

from typing import Any


class Refused(ValueError):
    """The server answered with a problem (RFC 9457)."""

    def __init__(self, status: int, kind: str, detail: str, problem: dict[str, Any]) -> None:
        super().__init__(f"{detail} ({status} {kind})")
        self.status = status
        """Of HTTP."""
        self.kind = kind
        """The stable name of the problem, without `urn:vultus:`; for instance "unknown-person"."""
        self.detail = detail
        """A sentence for people."""
        self.problem = problem
        """All that the server said."""


class Unreachable(ConnectionError):
    """Nobody answers at the address, or not in time, or it is no vultus."""

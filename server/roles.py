"""Who can ask, and what each kind of person may do."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

Role = Literal["viewer", "operator", "admin"]
"""Each may do what those before it may: look and search; name, enrol, and work with people; everything."""
ROLES: tuple[Role, ...] = get_args(Role)
Area = Literal["people", "search", "events", "cameras", "jobs", "system"]
"""What a key may be for. People who sign in have them all, as far as their role goes."""
AREAS: tuple[Area, ...] = get_args(Area)


class Principal(Struct, frozen=True, kw_only=True):
    """Whoever makes a request."""

    kind: Literal["local", "user", "key"]
    id: int | str
    """Of the user or of the key; a name says less, since it can be given again."""
    name: str
    role: Role
    areas: frozenset[Area] = frozenset(AREAS)

    def may(self, role: Role) -> bool:
        """Whether this is somebody of that role, or of one that may do more."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def actor(self) -> str:
        """What the audit log calls it; no user's name has a colon."""
        return f"key:{self.name}" if self.kind == "key" else self.name


LOCAL = Principal(kind="local", id=0, name="local", role="admin")
"""Anybody on this machine, while there are no users."""

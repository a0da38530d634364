"""Which cameras somebody looks at, as a process knows it: leases that end by themselves unless they are renewed."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic


class Lease:
    """How one camera is looked at."""

    __slots__ = ("_asked_until", "_awake_until", "_until", "clear", "veiled")

    def __init__(self) -> None:
        self._until = self._awake_until = self._asked_until = 0.0
        self.veiled = False
        """Whether faces are to be squares, but for those of `clear`."""
        self.clear: frozenset[int] = frozenset()
        """Tracks whose faces may be seen all the same."""

    def renew(self, seconds: float, *, full: bool, awake: bool, veiled: bool) -> None:
        """Somebody looks for so long, or (`full`) asks for one picture within that time; the last word on `veiled` counts."""
        if self.over:
            self.clear = frozenset()
        end = monotonic() + seconds
        if full:
            self._asked_until = max(self._asked_until, end)
        else:
            self._until = max(self._until, end)
        if awake or full:
            self._awake_until = max(self._awake_until, end)
        self.veiled = veiled

    @property
    def over(self) -> bool:
        """Whether nobody looks any more."""
        return monotonic() >= max(self._until, self._asked_until)

    @property
    def watched(self) -> bool:
        """Whether somebody looks."""
        return monotonic() < self._until

    @property
    def asked(self) -> bool:
        """Whether somebody waits for a full picture."""
        return monotonic() < self._asked_until

    @property
    def awake(self) -> bool:
        """Whether the camera is to be decoded in full though nothing moves."""
        return not self.over and monotonic() < self._awake_until

    def given(self) -> None:
        """A full picture was made."""
        self._asked_until = 0.0


class Audience:
    """One thread says who looks at what, any thread asks."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}

    def of(self, item: int) -> Lease | None:
        """How this camera is looked at; none if it is not, which costs a look into a dictionary."""
        lease = self._leases.get(item)
        return None if lease is None or lease.over else lease

    def renew(self, item: int, seconds: float, *, full: bool, awake: bool, veiled: bool) -> None:
        """See `Lease.renew`."""
        for old in [old for old, lease in self._leases.items() if lease.over and old != item]:
            del self._leases[old]
        self._leases.setdefault(item, Lease()).renew(seconds, full=full, awake=awake, veiled=veiled)

    def permit(self, item: int, tracks: Iterable[int]) -> None:
        """Of this camera only these tracks' faces may be seen where others are veiled."""
        lease = self._leases.get(item)
        if lease is not None:
            lease.clear = frozenset(tracks)

"""Who it is: tracks against the gallery."""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from vultus.configs.schema import Config
from vultus.index import FaceRecord, Gallery, GalleryBusy, StorageError, UnknownIdentity, Where
from vultus.index import Match as Near
from vultus.index import Sighting as Stored
from vultus.pipeline.messages import Embedded, ItemDone, ItemEnd, Message, Origin, Sighting, TrackedFace
from vultus.pipeline.stage import Context
from vultus.stages.attempts import Attempts
from vultus.stages.gallery import open_gallery, threshold, unknown_threshold
from vultus.stages.store import chip_jpeg

_log = logging.getLogger("vultus.stages")

_KNOWN = Where(labelled=True, hidden=None)
"""Hidden people are recognised, so that they are not taken for the next best."""

_PATIENCE = 1.5
"""Seconds after its first look in which a track may still be recognised before it counts as unknown."""
_MOST_TRACKS = 1024
"""Tracks remembered of one item; a live one goes on for weeks."""
_CANDIDATES = 5
_ASK_AGAIN = 1.0
"""Seconds between questions whether a stranger who is still before a camera has been enrolled meanwhile."""


class _Look(Struct, frozen=True):
    """One embedded face of a track: where, when, and how near to somebody."""

    origin: Origin
    face: TrackedFace
    similarity: float | None

    @property
    def rank(self) -> tuple[float, float]:
        """By similarity, then quality."""
        return (-2.0 if self.similarity is None else self.similarity, self.face.quality)


class _Person:
    """What is known of one track."""

    __slots__ = (
        "announced", "chip", "clearest", "first", "hidden", "last", "looks", "names", "nearest", "stranger", "told", "vector"
    )  # fmt: skip

    def __init__(self, when: float) -> None:
        self.first = self.last = when
        self.looks = 0
        self.names: dict[int, tuple[str, _Look]] = {}
        """Candidates at or above the threshold: name, and the look that was nearest."""
        self.nearest: _Look | None = None
        """The look that came nearest to anybody; of an empty gallery the best one."""
        self.clearest: _Look | None = None
        self.vector: npt.NDArray[np.float32] | None = None
        self.chip: npt.NDArray[np.uint8] | None = None
        """The look of the best quality, its embedding and its picture."""
        self.hidden: set[int] = set()
        """Candidates who are hidden."""
        self.stranger: int | None = None
        """The unknown person whom a stranger was found to be."""
        self.told = False
        self.announced: int | None = None

    def best(self) -> int | None:
        """The candidate with the nearest look, the one announced already in case of a tie."""
        return max(self.names, key=lambda who: (self.names[who][1].rank[0], who == self.announced), default=None)


class _Item:
    """What is known of one item."""

    __slots__ = ("asked", "end", "people", "received")

    def __init__(self) -> None:
        self.people: OrderedDict[int, _Person] = OrderedDict()
        self.received = 0
        self.end: ItemEnd | None = None
        self.asked = -np.inf
        """When strangers were last compared anew."""


class Match:
    """Embedded → Sighting, stored in the gallery before it is sent on; ItemEnd → ItemDone.

    A track is decided when one of its looks is at least as near to a person as the threshold: that is said at once, and
    again if a later look is nearer to somebody else. It counts as unknown when none was, and it has ended, had its
    `max_looks`, or was first seen 1.5 s ago; so nobody who is enrolled is announced as unknown for a blurred first
    look. A stranger becomes an unknown person of the gallery, or is known as one again, by the clearest look. Of
    strangers who stay before a camera that look is compared with the gallery again every second, so that they are named
    soon after somebody enrolled or named them. Of hidden people nothing is said and nothing stored.
    """

    name: ClassVar[str] = "match"

    def __init__(self, config: Config, data: Path) -> None:
        self._config = config
        self._data = data
        self._gallery: Gallery | None = None

    def open(self, context: Context) -> None:
        """Open the gallery; ModelMismatch if another embedder filled it."""
        self._context = context
        self._gallery, model = open_gallery(self._config, self._data)
        self._threshold = threshold(self._config, model)
        self._unknown = unknown_threshold(self._config, model)
        self._run = secrets.token_hex(8)
        self._items: Attempts[_Item] = Attempts(lambda _origin, _former: _Item())

    def process(self, batch: Sequence[Message]) -> Iterator[Message]:
        """Counters: `looks`, `recognised`, `unknown`, `changed`, `hidden`, `not_stored` (sightings)."""
        for message in batch:
            if isinstance(message, Embedded):
                yield from self._embedded(message)
            elif isinstance(message, ItemEnd):
                item = self._items.of(message.origin)
                if item is not None:
                    item.end = message
                    yield from self._finish(message.origin.item, item)
            else:
                yield message

    def close(self) -> None:
        """Close the gallery."""
        if self._gallery is not None:
            self._gallery.close()
            self._gallery = None

    def _embedded(self, message: Embedded) -> Iterator[Message]:
        item = self._items.of(message.origin)
        if item is None:
            return
        now = _when(message.origin)
        self._look(item, message, now)
        looked = {face.track for face in message.faces} | self._look_again(item, message, now)
        for track, person in item.people.items():
            if track in looked or not person.told:
                waited = not message.origin.still and not self._patient(person, now)
                yield from self._decide(track, person, waited=waited)
        while len(item.people) > _MOST_TRACKS:
            track, person = item.people.popitem(last=False)
            if not person.told:
                yield from self._decide(track, person, waited=True)
        yield from self._finish(message.origin.item, item)

    def _look(self, item: _Item, message: Embedded, now: float) -> None:
        """Add the faces of a frame, and whom they resemble, to what is known of their tracks."""
        if not message.faces:
            return
        assert self._gallery is not None
        self._context.count("looks", len(message.faces))
        item.received += len(message.faces)
        found = self._gallery.search(message.vectors, _CANDIDATES, where=_KNOWN)
        for face, matches in zip(message.faces, found, strict=True):
            person = item.people.setdefault(face.track, _Person(now))
            person.looks += 1
            person.last = now
            nearest = _Look(message.origin, face, matches[0].similarity if matches else None)
            if person.nearest is None or nearest.rank > person.nearest.rank:
                person.nearest = nearest
            self._consider(person, message.origin, face, matches)
        for face, vector, chip in zip(message.faces, message.vectors, message.chips, strict=True):
            person = item.people[face.track]
            if person.clearest is None or face.quality > person.clearest.face.quality:
                person.clearest = _Look(message.origin, face, None)
                person.vector, person.chip = np.array(vector), np.array(chip)

    def _look_again(self, item: _Item, message: Embedded, now: float) -> set[int]:
        """Compare strangers who are still there anew; returns their tracks."""
        if not message.alive or now - item.asked < _ASK_AGAIN:
            return set()
        item.asked = now
        strangers = {}
        for track in message.alive:
            person = item.people.get(track)
            if person is not None and person.told and person.announced is None and person.vector is not None:
                strangers[track] = person
        if not strangers:
            return set()
        assert self._gallery is not None
        vectors = np.stack([person.vector for person in strangers.values() if person.vector is not None])
        found = self._gallery.search(vectors, _CANDIDATES, where=_KNOWN)
        for person, matches in zip(strangers.values(), found, strict=True):
            assert person.clearest is not None
            self._consider(person, message.origin, person.clearest.face, matches)
        return set(strangers)

    def _consider(self, person: _Person, origin: Origin, face: TrackedFace, matches: Sequence[Near]) -> None:
        """Take over who is near enough to be the person."""
        for match in matches:
            if match.identity is None or match.name is None or match.similarity < self._threshold:
                continue
            look = _Look(origin, face, match.similarity)
            known = person.names.get(match.identity)
            if known is None or look.rank > known[1].rank:
                person.names[match.identity] = (match.name, look)
                if match.hidden:
                    person.hidden.add(match.identity)

    def _patient(self, person: _Person, now: float) -> bool:
        """Whether there is still hope that an undecided track will be recognised."""
        seen_all = person.looks >= self._config.track.max_looks
        ended = now - person.last > self._config.track.lost_after
        return not (seen_all or ended) and 0 <= now - person.first < _PATIENCE

    def _decide(self, track: int, person: _Person, *, waited: bool) -> Iterator[Message]:
        """Say who it is if that is new; that it is nobody only if `waited`."""
        while True:
            who = person.best()
            if who is None and (person.told or not waited or person.nearest is None):
                return
            if person.told and who == person.announced:
                return
            try:
                said = self._said(track, person, who)
                if said is not None:
                    yield said
            except UnknownIdentity:  # deleted since the search, or became part of somebody else
                person.names.pop(who or 0, None)
                person.stranger = None
                continue
            except (StorageError, GalleryBusy) as error:
                # Not told, so the next message of this item tries again.
                self._context.count("not_stored", 1)
                _log.warning("a sighting could not be stored yet: %s", error)
                return
            if said is None and (who is not None or self._config.match.report_unknown):
                self._context.count("hidden", 1)
            else:
                self._context.count("changed" if person.told else "unknown" if who is None else "recognised", 1)
            person.told, person.announced = True, who
            return

    def _said(self, track: int, person: _Person, who: int | None) -> Sighting | None:
        """The sighting of a decision, once the gallery has it; none if it is to be kept quiet."""
        if who is not None:
            return None if who in person.hidden else self._stored(track, who, *person.names[who])
        if not self._config.match.report_unknown:
            return None
        look, hidden = person.nearest, self._place(track, person)
        assert look is not None
        if hidden:
            return None
        if person.stranger is not None and person.clearest is not None:  # so that face and sighting show the same look
            look = replace(person.clearest, similarity=look.similarity)
        return self._stored(track, person.stranger, None, look)

    def _place(self, track: int, person: _Person) -> bool:
        """Find the unknown person whom a stranger is, or make one; return whether that is a hidden one."""
        look = person.clearest
        if self._unknown is None or look is None or person.vector is None:
            return False
        assert self._gallery is not None
        record = FaceRecord(
            source=look.origin.source,
            position=look.origin.position,
            time=look.origin.time,
            box=look.face.face.box,
            landmarks=look.face.face.landmarks,
            score=look.face.face.score,
            quality=look.face.quality,
            track=track,
            chip=chip_jpeg(person.chip) if self._config.store.keep_chips and person.chip is not None else None,
        )
        (placed,) = self._gallery.unknowns.place(person.vector[None], [record], self._unknown)
        person.stranger = None if placed is None else placed.identity
        return placed is not None and placed.hidden

    def _stored(self, track: int, who: int | None, name: str | None, look: _Look) -> Sighting:
        """The sighting, once the gallery has it."""
        assert self._gallery is not None
        origin, face = look.origin, look.face
        self._gallery.add_sighting(
            Stored(
                run=self._run,
                source=origin.source,
                track=track,
                time=origin.time,
                position=origin.position,
                identity=who,
                similarity=look.similarity,
                box=face.face.box,
                quality=face.quality,
            )
        )
        return Sighting(
            item=origin.item,
            source=origin.source,
            time=origin.time,
            position=origin.position,
            track=track,
            identity=who,
            name=name,
            similarity=look.similarity,
            box=face.face.box,
            quality=face.quality,
        )

    def _finish(self, number: int, item: _Item) -> Iterator[Message]:
        """End the item if all that belongs to it is there."""
        end = item.end
        if end is None or (not end.origin.live and item.received < end.faces):
            return
        for track, person in item.people.items():
            if not person.told:
                yield from self._decide(track, person, waited=True)
        self._items.drop(number)
        lost = not all(person.told for person in item.people.values())
        yield ItemDone(
            item=number,
            attempt=end.origin.attempt,
            source=end.origin.source,
            status="refused" if end.refused is not None else "retry" if lost else "done",
            faces=item.received,
            reason=end.refused if not lost else "the gallery did not take all sightings",
        )


def _when(origin: Origin) -> float:
    """Seconds on the clock that a track's looks are compared by."""
    return origin.time if origin.position is None else origin.position

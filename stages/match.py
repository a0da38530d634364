"""Who it is: tracks against the gallery."""

from __future__ import annotations

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from vultus.configs.schema import Config
from vultus.index import Gallery, GalleryBusy, StorageError, UnknownIdentity, Where
from vultus.index import Match as Near
from vultus.index import Sighting as Stored
from vultus.index.veil import Veil
from vultus.pipeline.messages import (
    MAX_SHOWN,
    Embedded,
    ItemDone,
    ItemEnd,
    Message,
    Names,
    Origin,
    Reason,
    Sighting,
    TrackedFace,
    Who,
)
from vultus.pipeline.stage import Context
from vultus.stages.attempts import Attempts
from vultus.stages.gallery import open_gallery, threshold, unknown_threshold
from vultus.stages.shots import Shots
from vultus.stages.store import face_record
from vultus.stages.template import Template

_log = logging.getLogger("vultus.stages")

_KNOWN = Where(labelled=True, hidden=None)
"""Hidden people are recognised, so that they are not taken for the next best."""

_PATIENCE = 1.5
"""Seconds after its first look in which a track may still be recognised before it counts as unknown."""
_MOST_TRACKS = 1024
"""Tracks remembered of one item."""
_CANDIDATES = 5
_HOLD = 0.05
"""A name gives way to another only if that is nearer by this cosine."""
_GONE = 60.0
"""Seconds beyond `rejoin` after which who was before a camera is forgotten."""
_CALIBRATED_EVERY = 2.0
"""Seconds between looks whether the gallery was calibrated anew."""
_ASK_AGAIN = 1.0
"""Seconds between questions whether a stranger who is still before a camera has been enrolled meanwhile."""


class _Look(Struct, frozen=True):
    """One embedded face of a track: where, when, and how near to somebody."""

    origin: Origin
    face: TrackedFace
    similarity: float | None


class _Person:
    """What is known of one track."""

    __slots__ = (
        "announced", "chip", "clearest", "concealed", "first", "hidden", "last", "looks", "name", "names", "nearest",
        "shots", "sighting", "stranger", "template", "told", "track", "vector",
    )  # fmt: skip

    def __init__(self, track: int, when: float, shots: int) -> None:
        self.track = track
        """The first one, by which sightings call the person."""
        self.first = self.last = when
        """When the first and the last look came, or for how long the track was alive."""
        self.looks = 0
        self.template = Template()
        self.names: dict[int, tuple[str, _Look]] = {}
        """The nearest people: name, and the last look with how near the template is now."""
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
        self.told = self.concealed = False
        """Whether it was decided who it is, and whether that is a hidden person."""
        self.announced: int | None = None
        self.name: str | None = None
        """Of the one who was announced."""
        self.shots = Shots(shots)
        self.sighting: int | None = None
        """Number in the gallery."""

    def best(self, threshold: float, margin: float) -> int | None:
        """Who it is: the nearest, at or above the threshold and by the margin nearer than anybody else.

        A name that was announced is kept until somebody is clearly nearer.
        """
        near = sorted(self.names, key=self._similarity, reverse=True)
        if not near or self._similarity(near[0]) < threshold or self.ambiguous(threshold, margin):
            return self.announced
        held = self.announced in self.names and self._similarity(near[0]) < self._similarity(self.announced) + _HOLD
        return self.announced if held else near[0]

    def ambiguous(self, threshold: float, margin: float) -> bool:
        """Whether two people are alike near."""
        near = sorted(map(self._similarity, self.names), reverse=True)
        return len(near) > 1 and near[0] >= threshold and near[0] - near[1] < margin

    def reason(self, threshold: float, margin: float) -> Reason:
        """Why it is nobody."""
        if self.nearest is None or self.nearest.similarity is None:
            return "nobody_known"
        return "ambiguous" if self.ambiguous(threshold, margin) else "below_threshold"

    def _similarity(self, who: int | None) -> float:
        look = None if who is None else self.names[who][1].similarity
        return -2.0 if look is None else look


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

    A track is decided when the template of its looks is at least as near to a person as the threshold, and nearer by
    `margin` than to anybody else: that is said at once, and again if it comes to be clearly nearer to somebody else. A
    name is not taken back. A track that shows the person of one that ended less than `rejoin` seconds ago goes on with
    that one's sighting. It counts as unknown when none was, and it has ended, had its
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
        self._gallery, self._model = open_gallery(self._config, self._data)
        self._gallery.load()
        self._threshold = threshold(self._config, self._model, self._gallery)
        self._calibrated = time.monotonic()
        self._unknown = unknown_threshold(self._config, self._model)
        self._veil = Veil(self._config.privacy)
        self._run = secrets.token_hex(8)
        self._items: Attempts[_Item] = Attempts(lambda _origin, _former: _Item())

    def process(self, batch: Sequence[Message]) -> Iterator[Message]:
        """Counters: `recognised`, `unknown` (of which `below_threshold`, `ambiguous`, `nobody_known`), `changed`, `hidden`,
        `rejoined` (tracks), `not_stored` (sightings).
        """
        self._take_calibration()
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

    def _take_calibration(self) -> None:
        """Go by what somebody calibrated meanwhile."""
        now = time.monotonic()
        if self._config.match.threshold is not None or now - self._calibrated < _CALIBRATED_EVERY:
            return
        self._calibrated = now
        try:
            self._threshold = threshold(self._config, self._model, self._gallery)
        except (GalleryBusy, ValueError):
            return  # the next time; ValueError: a calibration was taken back, and nothing else suggests a threshold

    def _embedded(self, message: Embedded) -> Iterator[Message]:
        item = self._items.of(message.origin)
        if item is None:
            return
        now = _when(message.origin)
        for track in message.alive:
            if track in item.people:
                item.people[track].last = now
        self._look(item, message, now)
        looked = {face.track for face in message.faces} | self._look_again(item, message, now)
        for track, person in list(item.people.items()):
            if track in looked or not person.told:
                waited = not message.origin.still and not self._patient(person, now)
                yield from self._decide(item, track, person, waited=waited)
        self._keep_shots(item)
        lease = self._context.audience.of(message.origin.item)
        if lease is not None and message.origin.live:
            self._show(item, message)
        if message.origin.live:
            self._forget(item, now)
        while len(item.people) > _MOST_TRACKS:
            track, person = item.people.popitem(last=False)
            if not person.told:
                yield from self._decide(item, track, person, waited=True)
        yield from self._finish(message.origin.item, item)

    def _look(self, item: _Item, message: Embedded, now: float) -> None:
        """Add the faces of a frame, and whom they resemble, to what is known of their tracks."""
        if not message.faces:
            return
        assert self._gallery is not None
        item.received += len(message.faces)
        looked = []
        for face, vector in zip(message.faces, message.vectors, strict=True):
            person = item.people.setdefault(face.track, _Person(face.track, now, self._config.match.shots))
            person.looks += 1
            person.last = now
            person.template.add(face.quality, vector)
            looked.append(person)
        found = self._gallery.search(np.stack([person.template.vector for person in looked]), _CANDIDATES, where=_KNOWN)
        for face, person, matches in zip(message.faces, looked, found, strict=True):
            person.nearest = _Look(message.origin, face, matches[0].similarity if matches else None)
            self._consider(person, message.origin, face, matches)
        for face, vector, chip in zip(message.faces, message.vectors, message.chips, strict=True):
            person = item.people[face.track]
            person.shots.add(message.origin, face.quality, chip)
            if person.clearest is None or face.quality > person.clearest.face.quality:
                person.clearest = _Look(message.origin, face, None)
                person.vector, person.chip = np.array(vector), np.array(chip)

    def _show(self, item: _Item, message: Embedded) -> None:
        """Tell whoever looks at this camera who is before it."""
        there = dict.fromkeys((*message.alive, *(face.track for face in message.faces)))
        decided = [(track, item.people[track]) for track in there if track in item.people and item.people[track].told]
        people = tuple(self._who(track, person) for track, person in decided[:MAX_SHOWN])
        self._context.show(Names(item=message.origin.item, people=people))

    def _who(self, track: int, person: _Person) -> Who:
        if person.concealed or person.announced in person.hidden:
            return Who(track=track, hidden=True)
        if person.announced is None:
            reason = person.reason(self._threshold, self._config.match.margin)
            near = person.nearest.similarity if person.nearest is not None else None
            return Who(track=track, identity=person.stranger, similarity=near, reason=reason)
        name, look = person.names.get(person.announced, (person.name, None))
        similarity = None if look is None else look.similarity
        clear = not self._veil.over(name)
        return Who(track=track, identity=person.announced, name=name, similarity=similarity, clear=clear)

    def _keep_shots(self, item: _Item) -> None:
        """Give the gallery what is clearer than it has of somebody who was told."""
        fresh = [person for person in item.people.values() if person.shots.fresh and person.sighting is not None]
        if not fresh:
            return
        assert self._gallery is not None
        try:
            self._gallery.keep_shots({person.sighting: person.shots.best for person in fresh if person.sighting})
        except (StorageError, GalleryBusy) as error:
            _log.warning("pictures of a sighting could not be stored yet: %s", error)
            return
        for person in fresh:
            person.shots.fresh = False

    def _forget(self, item: _Item, now: float) -> None:
        """Who was before a camera long ago: nothing is to be joined with them any more."""
        before = now - max(self._config.match.rejoin, self._config.track.lost_after) - _GONE
        for track in [track for track, person in item.people.items() if person.told and person.last < before]:
            del item.people[track]

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
        """Take over who is near."""
        person.names = {}
        for match in matches:
            if match.identity is not None and match.name is not None:
                person.names[match.identity] = (match.name, _Look(origin, face, match.similarity))
                if match.hidden:
                    person.hidden.add(match.identity)

    def _patient(self, person: _Person, now: float) -> bool:
        """Whether there is still hope that an undecided track will be recognised."""
        seen_all = person.looks >= self._config.track.max_looks
        ended = now - person.last > self._config.track.lost_after
        return not (seen_all or ended) and 0 <= now - person.first < _PATIENCE

    def _decide(self, item: _Item, track: int, person: _Person, *, waited: bool) -> Iterator[Message]:
        """Say who it is if that is new; that it is nobody only if `waited`."""
        margin = self._config.match.margin
        while True:
            who = person.best(self._threshold, margin)
            if who is None and (person.told or not waited or person.nearest is None):
                return
            if person.told and who == person.announced:
                return
            if not person.told and self._rejoins(item, track, person, who):
                return
            try:
                said = self._said(person, who)
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
            person.concealed = said is None and (who is not None or self._config.match.report_unknown)
            if person.concealed:
                self._context.count("hidden", 1)
            else:
                self._context.count("changed" if person.told else "unknown" if who is None else "recognised", 1)
                if who is None:
                    self._context.count(person.reason(self._threshold, margin), 1)
            person.told, person.announced = True, who
            person.name = None if who is None else person.names[who][0]
            return

    def _rejoins(self, item: _Item, track: int, person: _Person, who: int | None) -> bool:
        """Whether the track goes on with the sighting of one that ended a moment ago, which is the case from now on."""
        for former in reversed(item.people.values()):
            if former is person or not former.told or former.announced != who:
                continue
            gap = person.first - former.last
            if not 0 < gap <= self._config.match.rejoin:
                continue
            if who is None and float(former.template.vector @ person.template.vector) < self._threshold:
                continue
            former.template.join(person.template)
            former.shots.join(person.shots)
            former.last, former.looks = max(former.last, person.last), former.looks + person.looks
            item.people[track] = former
            self._context.count("rejoined", 1)
            return True
        return False

    def _said(self, person: _Person, who: int | None) -> Sighting | None:
        """The sighting of a decision, once the gallery has it; none if it is to be kept quiet."""
        if who is not None:
            return None if who in person.hidden else self._stored(person, who, *person.names[who])
        if not self._config.match.report_unknown:
            return None
        look, hidden = person.nearest, self._place(person)
        assert look is not None
        if hidden:
            return None
        if person.stranger is not None and person.clearest is not None:  # so that face and sighting show the same look
            look = replace(person.clearest, similarity=look.similarity)
        return self._stored(person, person.stranger, None, look)

    def _place(self, person: _Person) -> bool:
        """Find the unknown person whom a stranger is, or make one; return whether that is a hidden one."""
        look = person.clearest
        if self._unknown is None or look is None or person.vector is None:
            return False
        assert self._gallery is not None
        record = face_record(look.origin, look.face, person.chip if self._config.store.keep_chips else None)
        record = replace(record, track=person.track)  # by which sightings call the person
        (placed,) = self._gallery.unknowns.place(person.vector[None], [record], self._unknown)
        person.stranger = None if placed is None else placed.identity
        return placed is not None and placed.hidden

    def _stored(self, person: _Person, who: int | None, name: str | None, look: _Look) -> Sighting:
        """The sighting, once the gallery has it."""
        assert self._gallery is not None
        origin, face = look.origin, look.face
        person.sighting = self._gallery.add_sighting(
            Stored(
                run=self._run,
                source=origin.source,
                track=person.track,
                time=origin.time,
                position=origin.position,
                identity=who,
                similarity=look.similarity,
                box=face.face.box,
                quality=face.quality,
            ),
            person.shots.best,
        )
        person.shots.fresh = False
        return Sighting(
            item=origin.item,
            source=origin.source,
            time=origin.time,
            position=origin.position,
            track=person.track,
            identity=who,
            name=name,
            similarity=look.similarity,
            box=face.face.box,
            quality=face.quality,
            reason=person.reason(self._threshold, self._config.match.margin) if name is None else None,
        )

    def _finish(self, number: int, item: _Item) -> Iterator[Message]:
        """End the item if all that belongs to it is there."""
        end = item.end
        if end is None or (not end.origin.live and item.received < end.faces):
            return
        for track, person in list(item.people.items()):
            if not person.told:
                yield from self._decide(item, track, person, waited=True)
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

"""What the cameras at which somebody looks show: the newest picture and the newest boxes of each, with names."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Condition

from vultus.pipeline.messages import Boxes, Mark, Marks, Names, Preview, Spotted, Who


class Screen:
    """One thread puts, another takes; any may ask for a full picture.

    What was not taken yet is replaced by what is newer, so a slow reader costs a picture of memory for each camera.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._fresh: OrderedDict[tuple[int, bool], None] = OrderedDict()
        """Cameras with something to take, by item: a picture (true), or marks."""
        self._pictures: dict[int, Preview] = {}
        self._boxes: dict[int, Boxes] = {}
        self._people: dict[int, dict[int, Who]] = {}
        self._asking: defaultdict[int, list[Future[Preview]]] = defaultdict(list)
        self._closed = False

    def put(self, what: Preview | Boxes | Names) -> None:
        """Something new."""
        if isinstance(what, Preview) and what.full:
            self._answer(what)
            return
        with self._changed:
            if isinstance(what, Preview):
                self._pictures[what.item] = what
            elif isinstance(what, Boxes):
                self._boxes[what.item] = what
            else:
                people = {who.track: who for who in what.people}
                same = people == self._people.get(what.item)
                self._people[what.item] = people
                if same or what.item not in self._boxes:
                    return
            self._fresh[what.item, isinstance(what, Preview)] = None
            self._changed.notify_all()

    def take(self) -> Preview | Marks | None:
        """Wait for something; what was first to change comes first. None after the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._fresh or self._closed)
            if self._closed:
                return None
            (item, picture), _ = self._fresh.popitem(last=False)
            return self._pictures.pop(item) if picture else self._marks(item)

    def forget(self, item: int) -> None:
        """What is here of a camera is old."""
        with self._changed:
            for kept in (self._pictures, self._boxes, self._people):
                kept.pop(item, None)
            for picture in (True, False):
                self._fresh.pop((item, picture), None)

    @contextmanager
    def asking(self, item: int) -> Iterator[Future[Preview]]:
        """While inside, the next full picture of this camera becomes the result of what this gives."""
        future: Future[Preview] = Future()
        with self._changed:
            self._asking[item].append(future)
            if self._closed:
                self._refuse(future)
        try:
            yield future
        finally:
            with self._changed:
                if future in self._asking[item]:
                    self._asking[item].remove(future)
                if not self._asking[item]:
                    del self._asking[item]

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            for futures in self._asking.values():
                for future in futures:
                    self._refuse(future)
            self._changed.notify_all()

    def _refuse(self, future: Future[Preview]) -> None:
        if not future.done():
            future.set_exception(TimeoutError("the run has ended"))

    def _answer(self, picture: Preview) -> None:
        with self._changed:
            for future in self._asking.pop(picture.item, []):
                future.set_result(picture)

    def _marks(self, item: int) -> Marks:
        boxes, people = self._boxes[item], self._people.get(item, {})
        marks = [_mark(face, people.get(face.track)) for face in boxes.faces]
        return Marks(
            item=item,
            time=boxes.time,
            width=boxes.width,
            height=boxes.height,
            marks=tuple(mark for mark in marks if mark is not None),
        )


def _mark(face: Spotted, who: Who | None) -> Mark | None:
    """None for a hidden person."""
    if who is None:
        return Mark(box=face.box, track=face.track, score=face.score)
    if who.hidden:
        return None
    return Mark(
        box=face.box,
        track=face.track,
        score=face.score,
        state="unknown" if who.name is None else "known",
        identity=who.identity,
        name=who.name,
        similarity=who.similarity,
        reason=who.reason,
    )

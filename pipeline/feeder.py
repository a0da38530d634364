"""Which items are on their way, and what becomes of them when a process dies.

A finite item (photo, video) is outstanding from the moment it is handed to the first group until an `ItemDone` says
that it is durably finished. Whatever lay in a process that died is handed out again with the next attempt number. An item
of which the dead process held an unfinished message is a suspect: after one such death it is given to its next process
alone, from two on it has the whole job to itself, and after three it is refused. The refusal travels through the stages
as an `ItemEnd`, so that `store` keeps it; only if that kills a process three times more is the caller told directly. So
it is too of an item that `store` could not take time and again, or that was begun too often: that may be the fault of
a full disk, and the next run shall try again.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

from msgspec import structs

from vultus.pipeline.hop import Peer
from vultus.pipeline.messages import Item, ItemDone, ItemEnd, Leave, Message, Origin
from vultus.pipeline.queues import item_of

STRIKES = 3
"""Deaths of processes after which an item is refused."""
MAX_RETRIES = 5
"""Times that `store` may ask for an item again before it is refused."""
MAX_ATTEMPTS = 25
"""Whatever the reasons: an item that was begun so often will not be finished."""


def live_workers(sources: int, per_worker: int) -> int:
    """How many workers of the first group watch so many live items."""
    return -(-sources // per_worker)


def _keep(_worker: int) -> None:
    """Where processes stay until the job ends."""


class _Work:
    """An outstanding item."""

    __slots__ = ("handed", "item", "leaving", "refusal", "retries", "strikes", "worker")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.worker = -1
        self.handed = self.leaving = False
        self.strikes = self.retries = 0
        self.refusal: str | None = None

    def message(self) -> Message:
        return self.item if self.refusal is None else _refused(self.item, self.refusal)


class Feeder:
    """Supply and paths of the outlet to the first group. Belongs to the thread that runs the loop.

    Its first workers watch the live items, up to `per_worker` each and as many as the fullest of them needs; the others
    take the finite ones.
    """

    def __init__(
        self,
        live_sources: int,
        cancel: Callable[[int, int], None],
        give_up: Callable[[ItemDone], None],
        *,
        per_worker: int = 1,
        retire: Callable[[int], None] = _keep,
    ) -> None:
        """`cancel(item, attempt)` makes messages of earlier attempts worthless; `give_up` tells the caller directly, and
        `retire` that a worker has no live item left and gets nothing any more, unless `widen` calls for it again."""
        self._live_sources, self._cancel, self._give_up = live_sources, cancel, give_up
        self._per_worker, self._retire = per_worker, retire
        self._live_workers = set(range(live_workers(live_sources, per_worker)))
        self._retired: set[int] = set()
        self.endless = False
        """Whether more may be added for ever, so that nothing left to do is no end."""
        self.hold_live = False
        """Whether live items wait, because what they show could not be worked on yet."""
        self._works: dict[int, _Work] = {}
        self._pending: deque[int] = deque()
        self._alone: deque[int] = deque()
        self._leaving: deque[int] = deque()
        self._live_seen = 0
        self._asked = self._exhausted = False

    @property
    def finished(self) -> bool:
        """Whether there are no more items and all are done."""
        return self._exhausted and not self._works and not self.endless

    def add(self, item: Item, *, asked: bool = True) -> None:
        """One more item, `asked` for or not; raises ValueError if it does not fit what was announced."""
        self._asked = self._asked and not asked
        if item.item in self._works:
            raise ValueError(f"item number {item.item} was given to {item.source!r} while another has it")
        if item.live:
            self._live_seen += 1
            if self._live_seen > self._live_sources:
                raise ValueError(f"{item.source!r} is one live source more than the {self._live_sources} announced")
        self._works[item.item] = _Work(item)
        self._pending.append(item.item)

    def widen(self, worker: int) -> None:
        """There is a further worker for live items, and one live item more may be added."""
        self._live_workers.add(worker)
        self._retired.discard(worker)

    def announce(self) -> bool:
        """One live item more may be added; false if no worker has a place for it."""
        self._live_sources += 1
        return self._live_sources <= self._per_worker * len(self._live_workers)

    def watcher(self, item: int) -> int | None:
        """The worker that watches this live item, unless it is to leave."""
        work = self._works.get(item)
        return work.worker if work is not None and work.handed and work.item.live and not work.leaving else None

    def leave(self, item: int) -> None:
        """Watch this live item no longer."""
        work = self._works.get(item)
        if work is None or not work.item.live or work.leaving:
            return
        self._live_sources -= 1
        self._live_seen -= 1
        work.leaving = True  # and counts no longer
        if work.handed:
            self._leaving.append(item)
        else:
            self._gone(work)

    def exhaust(self) -> None:
        """There are no more items."""
        self._asked, self._exhausted = False, True

    def hungry(self, peers: Iterable[Peer]) -> bool:
        """Whether to get one more item; it counts as asked for until `add` or `exhaust`."""
        if self._asked or self._exhausted or any(work.strikes >= 2 for work in self._works.values()):
            return False
        finite = any(not self._works[item].item.live for item in self._pending)
        room = any(self._takes_files(peer) and self._has_room(peer) for peer in peers)
        self._asked = self._live_seen < self._live_sources or (room and not finite)
        return self._asked

    def __len__(self) -> int:
        return len(self._pending) + len(self._alone) + len(self._leaving)

    def hand_out(self, deliver: Callable[[Message], bool]) -> None:
        """See `Supply`."""
        for item in list(self._leaving):
            if item not in self._works or deliver(Leave(item=item)):
                self._leaving.remove(item)
        finite = [work for work in self._works.values() if not work.item.live]
        refused = {True: self.hold_live, False: any(work.handed and work.strikes >= 2 for work in finite)}
        for item in list(self._pending):
            work = self._works[item]
            live = work.item.live
            if refused[live]:
                continue
            if deliver(work.message()):
                self._pending.remove(item)
            else:
                refused[live] = True
        if self._alone and not any(work.handed or work.strikes < 2 for work in finite):
            work = self._works[self._alone[0]]
            if deliver(work.message()):
                self._alone.popleft()

    def choose(self, message: Message, peers: Iterable[Peer]) -> Peer | None:
        """See `Paths`."""
        work = self._works[item_of(message)]
        if isinstance(message, Leave):
            return next((peer for peer in peers if peer.worker == work.worker and peer.credit), None)
        if work.item.live:
            watched = Counter(other.worker for other in self._works.values() if other.item.live and other.handed)
            free = [peer for peer in peers if peer.worker in self._live_workers and peer.credit]
            fit = [peer for peer in free if watched[peer.worker] < self._per_worker]
            return min(fit, key=lambda peer: watched[peer.worker], default=None)
        fit = [peer for peer in peers if self._takes_files(peer) and self._has_room(peer)]
        if work.strikes or work.item.kind != "photo":
            fit = [peer for peer in fit if not peer.unfinished]
        return min((peer for peer in fit if peer.credit), key=lambda peer: len(peer.unfinished), default=None)

    def handed(self, message: Message, peer: Peer) -> None:
        """See `Paths`."""
        work = self._works[item_of(message)]
        if not isinstance(message, Leave):
            work.worker, work.handed = peer.worker, True

    def done(self, answer: ItemDone) -> ItemDone | None:
        """Take a stage's answer; what to tell the caller, if anything."""
        work = self._works.get(answer.item)
        if work is None:
            return None  # an earlier attempt had finished it already
        if answer.status == "retry":
            if answer.attempt == work.item.attempt and work.handed:
                self._ask_again(work, answer.reason or "its faces did not arrive whole")
            return None
        if answer.attempt != work.item.attempt:
            self._cancel(answer.item, work.item.attempt + 1)
        self._remove(answer.item)
        return answer

    def first_group_died(self, worker: int, suspects: Iterable[int], group: str) -> None:
        """A worker of the first group is gone, and with it all it was handed."""
        self._strike(suspects, group)
        for work in list(self._works.values()):
            if work.handed and work.worker == worker:
                self._again(work)

    def later_group_died(self, suspects: Iterable[int], group: str) -> None:
        """A worker further down is gone: any finite item may have lost a message. Cameras go on."""
        self._strike(suspects, group)
        for work in list(self._works.values()):
            if work.handed and not work.item.live:
                self._again(work)

    def incomplete(self) -> None:
        """A message arrived broken, nobody knows whose: every finite item that is on its way is begun again."""
        for work in list(self._works.values()):
            if work.handed and not work.item.live:
                self._ask_again(work, "its messages did not arrive whole")

    def _ask_again(self, work: _Work, reason: str) -> None:
        work.retries += 1
        if work.retries > MAX_RETRIES:
            self._refuse_now(work, f"{reason} ({work.retries} times)")
        else:
            self._again(work)

    def _takes_files(self, peer: Peer) -> bool:
        return peer.worker not in self._live_workers and peer.worker not in self._retired

    def _has_room(self, peer: Peer) -> bool:
        """Whether a photo may be put behind what this worker has: photos above suspicion."""
        if not peer.credit:
            return False
        works = [self._works.get(item) for item in peer.unfinished]
        return all(work is None or (work.item.kind == "photo" and not work.strikes) for work in works)

    def _strike(self, suspects: Iterable[int], group: str) -> None:
        for item in set(suspects):
            work = self._works.get(item)
            if work is not None and not work.item.live:
                work.strikes += 1
                if work.strikes == STRIKES:
                    work.refusal = f"ended the process {group!r} {STRIKES} times"

    def _again(self, work: _Work) -> None:
        number, attempt = work.item.item, work.item.attempt + 1
        if work.leaving:
            self._gone(work)
            return
        if not work.item.live and (work.strikes >= 2 * STRIKES or attempt >= MAX_ATTEMPTS):
            self._refuse_now(work, work.refusal or f"was begun {attempt} times and never finished")
            return
        work.item = structs.replace(work.item, attempt=attempt)
        work.handed, work.worker = False, -1
        self._cancel(number, attempt)
        if work.strikes >= 2:
            self._alone.append(number)
        else:
            self._pending.appendleft(number)

    def _refuse_now(self, work: _Work, reason: str) -> None:
        number, attempt = work.item.item, work.item.attempt
        self._cancel(number, attempt + 1)
        self._remove(number)
        self._give_up(ItemDone(item=number, attempt=attempt, source=work.item.source, status="refused", reason=reason))

    def _gone(self, work: _Work) -> None:
        """A live item that nobody watches any more, and whose end therefore nobody else tells."""
        item = work.item
        self._cancel(item.item, item.attempt + 1)
        self._remove(item.item)
        self._give_up(ItemDone(item=item.item, attempt=item.attempt, source=item.source, status="done"))

    def _remove(self, item: int) -> None:
        work = self._works.pop(item)
        if not work.handed:
            for queue in (self._pending, self._alone):
                if item in queue:
                    queue.remove(item)
        if work.item.live:
            if not work.leaving:
                self._live_sources -= 1
                self._live_seen -= 1
            self._release()

    def _release(self) -> None:
        """Retire workers without a live item, but as many as those need that wait for a worker or were announced."""
        handed = [work for work in self._works.values() if work.item.live and work.handed]
        watched = Counter(work.worker for work in handed)
        to_come = self._live_sources - sum(not work.leaving for work in handed)
        places = sum(self._per_worker - watched[worker] for worker in self._live_workers if watched[worker])
        needed = live_workers(max(0, to_come - places), self._per_worker)
        for worker in sorted(worker for worker in self._live_workers if not watched[worker])[needed:]:
            self._live_workers.discard(worker)
            self._retired.add(worker)
            self._retire(worker)


def _refused(item: Item, reason: str) -> ItemEnd:
    try:
        status = os.stat(item.address)
        size, mtime_ns = status.st_size, status.st_mtime_ns
    except (OSError, ValueError):
        size = mtime_ns = 0
    origin = Origin(
        item=item.item,
        attempt=item.attempt,
        source=item.source,
        seq=0,
        live=False,
        time=time.time(),
        label=item.label,
        still=item.kind == "photo",
    )
    return ItemEnd(origin=origin, refused=reason, size=size, mtime_ns=mtime_ns)

"""One hop: messages go from the processes of a group to those of the next, and only to who asked.

A receiver tells every sender how many messages it takes (`Hello`), and after each batch how many more (`Ready`), along
with the frames it does not need any more. So a sender knows, for each receiver, which messages are unfinished there, and
all waiting is done in the sender's queue, where the live rule can drop the oldest frame before anybody worked on it.

All messages of an item take one path: its first message picks a receiver, and the rest follow until its end has been
handed on. Order within an item is thereby kept through any number of groups and processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct

from vultus.pipeline.codec import Codec, Part, PlainCodec
from vultus.pipeline.control import Hello, HopMessage, Ready
from vultus.pipeline.errors import CodecError
from vultus.pipeline.frames import FrameReader, FrameRing, Image, Lease
from vultus.pipeline.messages import ItemEnd, Message
from vultus.pipeline.metrics import Meter
from vultus.pipeline.queues import Inbox, attempt_of, item_of
from vultus.pipeline.transport import Dealer, Loop, Router


class Peer:
    """A receiver, as its sender sees it."""

    __slots__ = ("credit", "name", "unfinished", "worker")

    def __init__(self, name: str, worker: int, credit: int) -> None:
        self.name, self.worker, self.credit = name, worker, credit
        self.unfinished: deque[int] = deque()
        """Items of the messages it has and did not finish, oldest first."""


class Supply(Protocol):
    """Where an outlet takes messages from."""

    def hand_out(self, deliver: Callable[[Message], bool]) -> None:
        """Offer messages until nobody takes any."""
        ...

    def __len__(self) -> int: ...


class Paths(Protocol):
    """Chooses the receiver of a message."""

    def choose(self, message: Message, peers: Iterable[Peer]) -> Peer | None:
        """A receiver with credit; none if the message has to wait."""
        ...

    def handed(self, message: Message, peer: Peer) -> None:
        """The message went there."""
        ...


class OnePathPerItem:
    """Every message of an item goes where the first one went, until the item's end.

    With `sticky`, item number modulo `workers` picks the receiver: the same one in every attempt and from every sender,
    with cameras, whose numbers follow each other, spread evenly. Otherwise the receiver with the most credit does.
    """

    def __init__(self, workers: int, *, sticky: bool) -> None:
        self._workers, self._sticky = workers, sticky
        self._paths: dict[int, tuple[int | None, int]] = {}

    def choose(self, message: Message, peers: Iterable[Peer]) -> Peer | None:
        """See `Paths`."""
        item = item_of(message)
        if self._sticky:
            return next((peer for peer in peers if peer.worker == item % self._workers and peer.credit), None)
        attempt, worker = self._paths.get(item, (None, -1))
        if worker >= 0 and attempt == attempt_of(message):
            return next((peer for peer in peers if peer.worker == worker and peer.credit), None)
        return max((peer for peer in peers if peer.credit), key=lambda peer: peer.credit, default=None)

    def handed(self, message: Message, peer: Peer) -> None:
        """See `Paths`."""
        if self._sticky:
            return
        item = item_of(message)
        if isinstance(message, ItemEnd):
            self._paths.pop(item, None)
        elif attempt_of(message) is not None:
            self._paths[item] = (attempt_of(message), peer.worker)


class Outlet:
    """The sending end. Belongs to the thread that runs the loop."""

    def __init__(
        self, loop: Loop, address: str, supply: Supply, paths: Paths, meter: Meter, ring: FrameRing | None
    ) -> None:
        """`ring` lends pictures; without one their bytes travel."""
        self._supply, self._paths, self._meter, self._ring = supply, paths, meter, ring
        self._router = Router(loop, address, self._received)
        self._codec, self._hop = Codec(), PlainCodec[HopMessage](HopMessage)
        self._peers: dict[str, Peer] = {}
        self._dead: deque[str] = deque(maxlen=256)

    @property
    def idle(self) -> bool:
        """Whether everything was handed on and finished there."""
        return not len(self._supply) and not any(peer.unfinished for peer in self._peers.values())

    @property
    def peers(self) -> Iterable[Peer]:
        """The receivers that are there."""
        return self._peers.values()

    def pump(self) -> None:
        """Hand on what can be."""
        self._supply.hand_out(self._deliver)

    def gone(self, name: str) -> tuple[int, ...]:
        """This receiver died: free what it held. Returns the items of which it had unfinished messages."""
        peer = self._peers.pop(name, None)
        self._dead.append(name)
        if self._ring is not None:
            self._ring.take_back_all(name)
        return tuple(dict.fromkeys(peer.unfinished)) if peer else ()

    def close(self) -> None:
        """Close the socket."""
        self._router.close()

    def _deliver(self, message: Message) -> bool:
        peer = self._paths.choose(message, self._peers.values())
        if peer is None:
            return False
        lease, image = None, getattr(message, "image", None)
        if self._ring is not None and isinstance(image, Image):
            lease = self._ring.lend(image, peer.name)
            if lease is None:
                return False
        if not self._router.send(peer.name, self._codec.encode(message, lease)):
            if lease is not None and self._ring is not None:
                self._ring.take_back(peer.name, lease.key)
            return False
        peer.credit -= 1
        peer.unfinished.append(item_of(message))
        self._paths.handed(message, peer)
        self._meter.sent()
        return True

    def _received(self, name: str, parts: list[Part]) -> None:
        try:
            message = self._hop.decode(parts)
            self._take(name, message)
        except CodecError:
            self._meter.drop("malformed")

    def _take(self, name: str, message: HopMessage) -> None:
        if name in self._dead:  # its words may arrive after the news of its death
            return
        if isinstance(message, Hello):
            if name in self._peers:
                raise CodecError(f"{name} said hello twice")
            self._peers[name] = Peer(name, message.worker, message.credit)
            return
        peer = self._peers.get(name)
        if peer is None or message.done > len(peer.unfinished):
            raise CodecError(f"{name} finished what it never had")
        for _ in range(message.done):
            peer.unfinished.popleft()
        peer.credit += message.done
        for key in message.leases:
            if self._ring is None or not self._ring.take_back(name, key):
                raise CodecError(f"{name} gave back a frame it never had")


class Delivery(Struct, frozen=True):
    """A message that came in, still in its parts, and from whom."""

    sender: str
    parts: list[Part]


class Inlet:
    """The receiving end: asks every sender. Belongs to the thread that runs the loop, but for `finished`."""

    def __init__(self, loop: Loop, name: str, worker: int, inbox: Inbox[Delivery], reader: FrameReader) -> None:
        self._loop, self._name, self._worker = loop, name, worker
        self._inbox, self._reader = inbox, reader
        self._hop = PlainCodec[HopMessage](HopMessage)
        self._senders: dict[str, Dealer] = {}
        self._done: deque[str] = deque()
        self._owed: dict[str, tuple[int, list[int]]] = {}

    def connect(self, addresses: dict[str, str], credit: int) -> None:
        """Ask exactly these senders, by name → address; new ones for `credit` messages each."""
        for name in [name for name in self._senders if name not in addresses]:
            self._senders.pop(name).close()
            self._owed.pop(name, None)
        for name, address in addresses.items():
            if name not in self._senders:
                dealer = Dealer(self._loop, self._name, address, self._receiver(name))
                dealer.send(self._hop.encode(Hello(worker=self._worker, credit=credit)))
                self._senders[name] = dealer

    def finished(self, deliveries: Iterable[Delivery]) -> None:
        """These were worked off; from any thread."""
        self._done.extend(delivery.sender for delivery in deliveries)
        self._loop.wake()

    def pump(self) -> None:
        """Tell the senders what was finished and which frames go back."""
        owed = self._owed
        while self._done:
            sender = self._done.popleft()
            done, leases = owed.get(sender, (0, []))
            owed[sender] = (done + 1, leases)
        while self._reader.returned:
            sender, key = self._reader.returned.popleft()
            owed.setdefault(sender, (0, []))[1].append(key)
        self._owed = {}
        for sender, (done, leases) in owed.items():
            dealer = self._senders.get(sender)
            if dealer is not None and not dealer.send(self._hop.encode(Ready(done=done, leases=tuple(leases)))):
                self._owed[sender] = (done, leases)

    def close(self) -> None:
        """Close the sockets."""
        self.connect({}, 1)

    def _receiver(self, sender: str) -> Callable[[list[Part]], None]:
        return lambda parts: self._inbox.put(Delivery(sender, parts))


def opener(reader: FrameReader, sender: str) -> Callable[[Lease], Image]:
    """How the codec opens the pictures of one sender."""
    return lambda lease: reader.image(sender, lease)

import threading

import numpy as np
import pytest

from vultus.pipeline import queues
from vultus.pipeline.frames import Image
from vultus.pipeline.hop import OnePathPerItem, Peer
from vultus.pipeline.messages import Frame, ItemEnd, Origin
from vultus.pipeline.queues import MAX_QUEUE_BYTES, FairQueue, Inbox


def origin(item, seq=0, *, live=False, attempt=0):
    return Origin(item=item, attempt=attempt, source=f"s{item}", seq=seq, live=live, time=0.0)


def frame(item, seq=0, *, live=False, size=1):
    pixels = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (size, size, 3), (0, 0, 0)) if size > 9 else None
    return Frame(
        origin=origin(item, seq, live=live), image=Image(np.zeros((1, 1, 3), np.uint8) if pixels is None else pixels)
    )


def end(item, *, live=False):
    return ItemEnd(origin=origin(item, 99, live=live))


def taken(queue, most=99):
    out = []

    def deliver(message):
        if len(out) == most:
            return False
        out.append(message)
        return True

    queue.hand_out(deliver)
    return [(message.origin.item, message.origin.seq) for message in out]


def test_live_frames_push_out_the_oldest_of_their_own_camera():
    queue = FairQueue(2, lambda: None)
    assert [queue.push(frame(1, seq, live=True)) for seq in range(5)] == [0, 0, 1, 1, 1]
    assert queue.push(frame(2, 0, live=True)) == 0
    assert taken(queue) == [(1, 3), (2, 0), (1, 4)]


def test_ends_and_answers_are_never_pushed_out():
    queue = FairQueue(1, lambda: None)
    assert queue.wait(end(1, live=True))
    for seq in range(3):
        queue.push(frame(1, seq, live=True))
    assert taken(queue) == [(1, 99), (1, 2)]


def test_cameras_take_turns():
    queue = FairQueue(10, lambda: None)
    for seq in range(4):
        queue.push(frame(1, seq, live=True))
    queue.push(frame(2, 0, live=True))
    queue.push(frame(3, 0, live=True))
    assert taken(queue, 4) == [(1, 0), (2, 0), (3, 0), (1, 1)]
    assert taken(queue) == [(1, 2), (1, 3)]


def test_a_lane_that_nobody_takes_from_does_not_hold_up_the_others():
    queue = FairQueue(10, lambda: None)
    for item in (1, 2):
        queue.push(frame(item, 0, live=True))
        queue.push(frame(item, 1, live=True))
    out = []
    queue.hand_out(lambda message: message.origin.item == 2 and not out.append(message.origin.seq))
    assert out == [0, 1]
    assert taken(queue) == [(1, 0), (1, 1)], "and what was not taken keeps its order"


def test_files_wait_for_room():
    queue = FairQueue(2, lambda: None)
    assert queue.wait(frame(1, 0))
    assert queue.wait(frame(1, 1))
    assert not queue.has_room(frame(2))
    waiting = threading.Thread(target=queue.wait, args=(frame(2, 0),))
    waiting.start()
    assert taken(queue, 1) == [(1, 0)]
    waiting.join(5)
    assert not waiting.is_alive()
    assert taken(queue) == [(1, 1), (2, 0)]


def test_large_pictures_wait_sooner():
    queue = FairQueue(100, lambda: None)
    big = 1 + int((MAX_QUEUE_BYTES / 2 / 3) ** 0.5)
    assert queue.wait(frame(1, 0, size=big)), "one always goes, however large"
    assert not queue.has_room(frame(1, 1, size=big))
    assert queue.has_room(end(1))


def test_closing_lets_waiters_go():
    queue = FairQueue(1, lambda: None)
    queue.wait(end(1))
    got = []
    waiting = threading.Thread(target=lambda: got.append(queue.wait(end(2))))
    waiting.start()
    queue.close()
    waiting.join(5)
    assert got == [False]


def test_discarding_makes_room():
    queue = FairQueue(2, lambda: None)
    queue.wait(end(1))
    queue.wait(end(2))
    assert queue.discard(lambda message: message.origin.item == 1) == 1
    assert queue.has_room(end(3))
    assert len(queue) == 1


def test_the_inbox_fills_a_batch_or_gives_what_it_has():
    inbox = Inbox()
    for n in range(5):
        inbox.put(n)
    assert inbox.take(3, 10.0) == [0, 1, 2], "a full batch does not wait"
    assert inbox.take(3, 0.01) == [3, 4]
    inbox.put(5)
    inbox.close()
    assert inbox.take(3, 10.0) == [5], "nor does a closed inbox"
    assert inbox.take(3, 10.0) == []


def test_one_path_for_each_item():
    paths = OnePathPerItem(2, sticky=False)
    peers = [Peer("a", 0, 3), Peer("b", 1, 2)]

    def send(message):
        peer = paths.choose(message, peers)
        if peer is None:
            return None
        peer.credit -= 1
        paths.handed(message, peer)
        return peer.name

    assert [send(frame(1, 0)), send(frame(1, 1)), send(frame(2, 0))] == ["a", "a", "b"]
    assert [send(frame(1, 2)), send(frame(1, 3))] == ["a", None], "it waits for its receiver although the other is free"
    peers[0].credit = 1
    assert send(end(1)) == "a"
    assert send(frame(1, 0)) == "b", "after its end the item is forgotten"


def test_sticky_groups_get_an_item_at_the_same_place_from_everybody():
    peers = [Peer("a", 0, 9), Peer("b", 1, 9), Peer("c", 2, 9)]
    for _ in range(2):
        paths = OnePathPerItem(3, sticky=True)
        assert [paths.choose(frame(item), peers).name for item in range(6)] == list("abcabc")
    assert OnePathPerItem(3, sticky=True).choose(frame(2), peers[:2]) is None, "that process is being started again"


def test_a_batch_does_not_wait_longer_than_its_oldest_message_has(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(queues, "monotonic", lambda: now[0])
    inbox: Inbox[int] = Inbox()
    inbox.put(1)
    now[0] += 0.5  # it lay there while the batch before was worked on
    inbox.put(2)
    assert inbox.take(8, 0.4) == [1, 2]

import pytest

from vultus.pipeline.feeder import MAX_ATTEMPTS, MAX_RETRIES, STRIKES, Feeder
from vultus.pipeline.hop import Peer
from vultus.pipeline.messages import Item, ItemDone, ItemEnd, Leave


class Job:
    """A feeder with workers that take what they are given."""

    def __init__(self, workers=2, live=0, credit=2, per_worker=1):
        self.cancelled, self.given_up, self.handed, self.retired = {}, [], [], []
        self.feeder = Feeder(
            live, self.cancelled.__setitem__, self.given_up.append, per_worker=per_worker, retire=self.retired.append
        )
        self.peers = [Peer(f"0/{n}/0", n, credit) for n in range(workers)]

    def add(self, *numbers, kind="photo"):
        for number in numbers:
            self.feeder.add(Item(item=number, attempt=0, kind=kind, source=f"s{number}", address=f"/no/{number}"))

    def pump(self):
        """Hand out what can be; (item, attempt, worker) of each."""
        before = len(self.handed)
        self.feeder.hand_out(self.deliver)
        return self.handed[before:]

    def deliver(self, message):
        peer = self.feeder.choose(message, self.peers)
        if peer is None:
            return False
        about = message if isinstance(message, Item | Leave) else message.origin
        peer.credit -= 1
        peer.unfinished.append(about.item)
        self.feeder.handed(message, peer)
        if not isinstance(message, Leave):
            self.handed.append((about.item, about.attempt, peer.worker))
        self.last = message
        return True

    def finish(self, worker):
        peer = self.peers[worker]
        peer.unfinished.popleft()
        peer.credit += 1

    def die(self, worker):
        """The worker dies and a new one takes its place."""
        peer = self.peers[worker]
        self.peers[worker] = Peer(f"0/{worker}/n", worker, 2)
        self.feeder.first_group_died(worker, tuple(peer.unfinished), "decode")

    def done(self, item, attempt=0, status="done"):
        return self.feeder.done(ItemDone(item=item, attempt=attempt, source=f"s{item}", status=status))


def test_cameras_share_workers_evenly_and_join_and_leave():
    job = Job(workers=3, live=6, credit=4, per_worker=3)
    job.add(*range(6), kind="camera")
    assert sorted(worker for _, _, worker in job.pump()) == [0, 0, 0, 1, 1, 1], "the third worker is for files"
    assert not job.feeder.announce(), "no worker has a place for a seventh"
    job.feeder.widen(3)
    job.peers.append(Peer("0/3/0", 3, 4))
    job.add(6, kind="camera")
    assert job.pump() == [(6, 0, 3)]
    job.feeder.leave(6)
    job.pump()
    assert job.last == Leave(item=6)
    assert not job.feeder.finished
    assert job.done(6) is not None
    # It dies before it has answered: nobody begins the camera again.
    job.feeder.leave(0)
    job.pump()
    job.peers[0].unfinished.clear()
    job.die(0)
    assert sorted(item for item, _, _ in job.pump()) == [2, 4]
    assert [(answer.item, answer.status) for answer in job.given_up] == [(0, "done")]


def test_a_worker_without_cameras_is_retired_and_gets_nothing_more():
    job = Job(workers=3, live=4, credit=4, per_worker=2)
    job.add(0, 1, 2, 3, kind="camera")
    where = {item: worker for item, _, worker in job.pump()}
    first, second = (item for item in range(4) if where[item] == 0)
    job.feeder.leave(first)
    job.pump()
    job.done(first)
    assert not job.retired, "it has another camera"
    job.feeder.leave(second)
    job.pump()
    assert not job.retired, "it still has to tell its end"
    job.done(second)
    assert job.retired == [0]
    job.peers.pop()
    job.add(8)
    assert not job.pump(), "whoever is retired takes no photos either"
    # A camera that comes back finds its worker called for again.
    assert not job.feeder.announce()
    job.feeder.widen(0)
    job.peers[0] = Peer("0/0/1", 0, 4)
    job.add(9, kind="camera")
    assert job.pump() == [(9, 0, 0)]


def test_a_worker_stays_for_cameras_that_wait():
    job = Job(workers=2, live=2)
    job.add(0, 1, kind="camera")
    job.pump()
    # Exchanged: the new one takes the place of the old.
    job.feeder.leave(0)
    assert job.feeder.announce()
    job.feeder.add(Item(item=5, attempt=0, kind="camera", source="s5", address=""), asked=False)
    assert not job.pump()
    job.done(0)
    assert not job.retired
    job.finish(0)
    assert job.pump() == [(5, 0, 0)]
    # Its process died and is about to come back when its camera leaves: there is nobody to tell the end.
    job.peers[1].unfinished.clear()
    job.die(1)
    job.feeder.leave(1)
    assert job.retired == [1]
    # One that ended by itself leaves its place to others.
    assert not job.feeder.announce()
    job.feeder.widen(1)
    job.add(6, kind="camera")
    job.pump()
    job.done(6)
    assert job.retired == [1, 1]


def test_an_endless_job_waits_for_more():
    job = Job()
    job.feeder.exhaust()
    assert job.feeder.finished
    job.feeder.endless = True
    assert not job.feeder.finished


def test_photos_are_fetched_ahead_and_videos_are_not():
    job = Job(workers=1)
    job.add(1, 2, 3)
    assert job.pump() == [(1, 0, 0), (2, 0, 0)]
    job = Job(workers=1)
    job.add(1)
    job.add(2, kind="video")
    assert job.pump() == [(1, 0, 0)]
    job.finish(0)
    job.add(3)
    assert job.pump() == [(2, 0, 0)]
    assert not job.feeder.hungry(job.peers), "nothing waits behind a video"


def test_items_are_asked_for_one_at_a_time_and_only_when_there_is_room():
    job = Job(workers=1)
    assert job.feeder.hungry(job.peers)
    assert not job.feeder.hungry(job.peers), "one question at a time"
    job.add(1)
    job.pump()
    assert job.feeder.hungry(job.peers)
    job.add(2)
    job.pump()
    assert not job.feeder.hungry(job.peers)
    job.finish(0)
    assert job.feeder.hungry(job.peers)


def test_live_items_have_their_own_workers():
    job = Job(workers=3, live=2)
    job.add(1, 2, 3)
    job.add(8, 9, kind="camera")
    assert job.pump() == [(1, 0, 2), (2, 0, 2), (8, 0, 0), (9, 0, 1)]
    with pytest.raises(ValueError, match="one live source more than the 2"):
        job.add(10, kind="camera")


def test_live_items_can_be_held():
    job = Job(workers=2, live=1)
    job.feeder.hold_live = True
    job.add(0, kind="camera")
    job.add(1)
    assert job.pump() == [(1, 0, 1)]
    job.feeder.hold_live = False
    assert job.pump() == [(0, 0, 0)]


def test_a_number_is_used_once():
    job = Job()
    job.add(1)
    with pytest.raises(ValueError, match="while another has it"):
        job.add(1)


def test_finished_when_all_is_done():
    job = Job()
    job.add(1)
    job.feeder.exhaust()
    job.pump()
    assert not job.feeder.finished
    assert job.done(1).status == "done"
    assert job.feeder.finished
    assert job.done(1) is None, "told once"


def test_a_dead_worker_s_items_are_handed_out_again():
    job = Job()
    job.add(1, 2, 3)
    job.pump()
    job.finish(0)  # item 1 left the process, but its outbox died with it
    job.die(0)
    assert job.cancelled == {1: 1, 3: 1}
    assert {item for item, attempt, _ in job.pump() if attempt == 1} == {1, 3}


def test_an_answer_to_an_earlier_attempt_counts_if_it_is_final():
    job = Job()
    job.add(1)
    job.pump()
    job.die(0)
    assert job.done(1, attempt=0, status="retry") is None
    assert job.done(1, attempt=0).status == "done"
    assert job.cancelled[1] == 2, "the attempt that is on its way is of no use"
    job.feeder.exhaust()
    assert job.feeder.finished


def test_a_suspect_gets_a_worker_of_its_own_then_the_whole_job():
    job = Job(workers=2)
    job.add(1)
    job.pump()
    job.die(0)
    job.add(2, 3, 4)
    assert job.pump() == [(1, 1, 0), (2, 0, 1), (3, 0, 1)], "nothing joins the suspect"
    job.die(0)
    assert not job.feeder.hungry(job.peers)
    assert job.pump() == [(4, 0, 0)], "the suspect waits until the others are done"
    for item in (2, 3, 4):
        assert job.done(item)
    for worker in (0, 1, 1):
        job.finish(worker)
    assert job.pump() == [(1, 2, 0)]
    job.add(5)
    assert job.pump() == [], "and nothing runs beside it"
    job.done(1, attempt=2)
    assert job.pump() == [(5, 0, 1)]


def test_a_poisonous_item_is_refused_through_the_stages():
    job = Job(workers=1)
    job.add(1)
    for _ in range(STRIKES):
        assert len(job.pump()) == 1
        job.die(0)
    job.pump()
    assert isinstance(job.last, ItemEnd)
    assert job.last.refused == "ended the process 'decode' 3 times"
    assert not job.given_up
    for _ in range(STRIKES):
        job.die(0)
        job.pump()
    assert [answer.reason for answer in job.given_up] == [job.last.refused]
    job.feeder.exhaust()
    assert job.feeder.finished


def test_a_camera_is_never_refused():
    job = Job(workers=1, live=1)
    job.add(1, kind="camera")
    for attempt in range(MAX_ATTEMPTS + 10):
        assert job.pump() == [(1, attempt, 0)]
        job.die(0)
    assert not job.given_up


def test_a_death_downstream_restarts_files_but_not_cameras():
    job = Job(workers=2, live=1)
    job.add(1, kind="camera")
    job.add(2, 3)
    job.pump()
    job.feeder.later_group_died([1, 3], "faces")
    assert job.cancelled == {2: 1, 3: 1}


def test_store_may_ask_again_but_not_for_ever():
    job = Job(workers=1)
    job.add(1)
    for attempt in range(MAX_RETRIES + 1):
        assert job.pump()[0][:2] == (1, attempt)
        job.finish(0)
        job.feeder.done(ItemDone(item=1, attempt=attempt, source="s1", status="retry", reason="the disk is full"))
    assert [answer.reason for answer in job.given_up] == [f"the disk is full ({MAX_RETRIES + 1} times)"]
    assert job.pump() == [], "the next run may succeed, so `store` keeps no refusal"


def test_whatever_happens_it_ends():
    job = Job(workers=1)
    job.add(1)
    for _ in range(MAX_ATTEMPTS):
        job.pump()
        job.finish(0)
        job.feeder.later_group_died([], "faces")
    assert job.given_up[0].reason == f"was begun {MAX_ATTEMPTS} times and never finished"

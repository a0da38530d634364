"""Tracks: who is who from frame to frame, and which faces are looked at."""

from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from vultus.configs.schema import Config, Decode, Track
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Detections, Face, ItemEnd, Origin, Tracked
from vultus.stages import track as module
from vultus.stages import tracker as tracker_module
from vultus.stages import video
from vultus.stages.align import TEMPLATE
from vultus.stages.detector import look
from vultus.stages.quality import Grade
from vultus.stages.track import Track as TrackStage
from vultus.stages.tracker import Tracker
from vultus.stages.yunet import YuNet


def face(x: float, y: float, side: float = 60.0, score: float = 0.9) -> Face:
    points = TEMPLATE / 112 * side + (x, y)
    return Face(box=(x, y, side, side), landmarks=tuple(map(tuple, points.tolist())), score=score)


def tracker() -> Tracker:
    return Tracker(lost_after=1.0)


def test_ids_rise_from_one_and_stay() -> None:
    tracks = tracker()
    for step in range(10):
        found = tracks.update([face(10 + 5 * step, 20), face(400 - 4 * step, 30)], step * 0.1)
        assert [each.id for each in found] == [1, 2]
    assert [each.id for each in tracks.update([face(200, 300)], 1.0)] == [3]


def test_speed_carries_through_a_gap() -> None:
    tracks = tracker()
    for step in range(5):
        tracks.update([face(40 * step, 50)], step * 0.1)
    # Half a second unseen, three boxes further on: where it would be if it went on.
    (found,) = tracks.update([face(40 * 9 + 6, 50)], 0.9)
    assert found.id == 1
    assert tracker().update([face(0, 50)], 0.0)[0].id == 1


def test_two_pass_each_other() -> None:
    tracks = tracker()
    for step in range(21):
        a, b = face(20 * step, 50, 62), face(400 - 20 * step, 52, 58)
        order = [a, b] if step % 2 else [b, a]
        found = dict(zip([id(f) for f in order], tracks.update(order, step * 0.04), strict=True))
        if step == 0:
            first, second = found[id(a)].id, found[id(b)].id
        assert (found[id(a)].id, found[id(b)].id) == (first, second), step


@pytest.mark.slow
def test_lost_after_a_while_and_memory_is_bounded() -> None:
    tracks = tracker()
    tracks.update([face(10, 10)], 0.0)
    assert tracks.update([face(10, 10)], 1.0)[0].id == 1
    assert tracks.update([face(10, 10)], 2.1)[0].id == 2
    for step in range(2000):
        tracks.update([face(float(step * 97 % 1900), float(step * 53 % 1000))], 3 + step * 0.1)
    assert len(tracks._tracks) <= 12


def test_pairs_are_the_best_in_sum(rand: np.random.Generator) -> None:
    """Against trying every assignment."""
    for _ in range(150):
        rows, columns = rand.integers(1, 5, 2)
        costs = np.where(rand.random((rows, columns)) < 0.7, rand.random((rows, columns)) * 21, np.inf)
        pairs = tracker_module._assigned(costs)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
        wide = np.hstack([costs, np.full((rows, rows), tracker_module._ALONE)])
        least = min(
            sum(wide[row, at] for row, at in enumerate(way))
            for way in permutations(range(int(columns + rows)), int(rows))
        )
        assert sum(costs[pair] for pair in pairs) + tracker_module._ALONE * (rows - len(pairs)) <= least + 1e-9


def test_a_hidden_face_is_taken_up_again_and_not_by_who_passes(rand: np.random.Generator) -> None:
    tracks = tracker()
    for step in range(20):
        behind, before = face(10 * step, 50, 60), face(400 - 10 * step, 60, 90)
        hidden = 12 <= step < 18
        found = tracks.update([before] if hidden else [before, behind], step * 0.12)
        assert found[0].id == 1, step
        assert hidden or found[1].id == 2, step


def test_switches_in_a_crowd_are_few(rand: np.random.Generator) -> None:
    """People who cross, hide each other and turn; every third frame, with misses and the noise of a detector."""
    people = [
        (begin, float(left), float(rand.uniform(200, 500)), float(rand.uniform(60, 120)), rand.normal(0, 0.03, (5, 2)))
        for begin in range(0, 40, 4)
        for left in (True, False)
    ]
    tracks, last, switches, seen = tracker(), {}, 0, 0
    for step in range(100):
        there = []
        for who, (begin, left, y, side, pose) in enumerate(people):
            x = -100 + 30 * (step - begin) if left else 1900 - 30 * (step - begin)
            if step >= begin and -50 <= x <= 1850 and rand.random() > 0.1:
                there.append((who, face(*(np.array([x, y]) + rand.normal(0, 0.02 * side, 2)), side)))
                points = (TEMPLATE / 112 + pose) * side + there[-1][1].box[:2]
                moved = msgspec.structs.replace(there[-1][1], landmarks=tuple(map(tuple, points.tolist())))
                there[-1] = (who, moved)
        for (who, _), track in zip(there, tracks.update([each for _, each in there], step * 0.12), strict=True):
            switches += last.get(who, track.id) != track.id
            last[who] = track.id
            seen += 1
    assert seen > 500
    assert switches <= 0.02 * seen


def test_size_and_distance_gates() -> None:
    tracks = tracker()
    tracks.update([face(100, 100, 60)], 0.0)
    # Near but three times as large, or far away: somebody else.
    assert tracks.update([face(85, 85, 200)], 0.1)[0].id == 2
    assert tracks.update([face(400, 100, 60)], 0.2)[0].id == 3


def test_many_faces_at_once_keep_their_ids(rand: np.random.Generator) -> None:
    tracks = tracker()
    places = np.stack(np.meshgrid(np.arange(12) * 90.0, np.arange(8) * 90.0), -1).reshape(-1, 2)
    speed = rand.uniform(-40, 40, places.shape)
    ids = None
    for step in range(8):
        at = places + speed * step * 0.04
        order = rand.permutation(len(at))
        found = tracks.update([face(*at[index]) for index in order], step * 0.04)
        by_place = {int(index): each.id for index, each in zip(order, found, strict=True)}
        ids = ids or by_place
        assert by_place == ids


def test_whatever_comes_the_answer_fits(rand: np.random.Generator) -> None:
    tracks = tracker()
    for step in range(300):
        faces = [face(*rand.uniform(0, 300, 2), rand.uniform(5, 200)) for _ in range(rand.integers(0, 9))]
        found = tracks.update(faces, step * float(rand.choice([0.0, 0.04, 0.5])))
        assert len(found) == len(faces)
        assert len({each.id for each in found}) == len(faces)


# The stage


def sharp(shape: tuple[int, int] = (360, 640)) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (*shape, 3)).astype(np.uint8)


class Feeder:
    """A track stage and detections for it, whose qualities are what the test says."""

    def __init__(self, surroundings: Any, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        self.stage = TrackStage(Config(track=Track(**config)))
        self.stage.open(surroundings.context)
        self.counts = surroundings.counts
        monkeypatch.setattr(module, "grade", lambda _image, face: Grade(1.0, 1.0, 1.0, 1.0, face.score))
        self.picture = sharp()
        self._seq = 0

    def send(self, *faces: Face, picture: np.ndarray | None = None, **origin: Any) -> list[tuple[int, float]]:
        """What was chosen, as (track, quality)."""
        given = {
            "item": 1,
            "attempt": 0,
            "source": "s",
            "seq": self._seq,
            "live": True,
            "time": self._seq * 0.04,
            **origin,
        }
        self._seq = given["seq"] + 1
        picture = self.picture if picture is None else picture
        message = Detections(origin=Origin(**given), image=Image(picture), faces=faces)
        return [
            (tracked.track, tracked.quality)
            for out in self.stage.process([message])
            if isinstance(out, Tracked)
            for tracked in out.faces
        ]

    def end(self, item: int = 1, attempt: int = 0) -> ItemEnd:
        origin = Origin(item=item, attempt=attempt, source="s", seq=self._seq, live=True, time=0.0)
        (message,) = self.stage.process([ItemEnd(origin=origin)])
        return message


@pytest.fixture
def feeder(surroundings: Any, monkeypatch: pytest.MonkeyPatch) -> Feeder:
    return Feeder(surroundings, monkeypatch, min_quality=0.2, improve=0.15, max_looks=3)


def test_first_good_view_then_only_better_ones(feeder: Feeder) -> None:
    grades = [0.1, 0.3, 0.31, 0.34, 0.36, 0.2, 0.5, 0.9, 0.99]
    chosen = [feeder.send(face(50, 50, score=grade)) for grade in grades]
    assert chosen == [[], [(1, 0.3)], [], [], [(1, 0.36)], [], [(1, 0.5)], [], []]
    assert feeder.counts["looks"] == 3
    assert feeder.counts["face_unsure"] == 1
    assert feeder.counts["not_better"] == 5
    assert feeder.end().faces == 3


def test_a_photo_passes_all_faces(feeder: Feeder) -> None:
    faces = [face(10, 10, score=0.05), face(10, 10, score=0.9), face(300, 10, score=0.4)]
    assert feeder.send(*faces, still=True) == [(1, 0.05), (2, 0.9), (3, 0.4)]
    assert feeder.end().faces == 3


def test_late_and_repeated_frames_do_not_disturb(feeder: Feeder) -> None:
    assert feeder.send(face(50, 50, score=0.4), seq=5) == [(1, 0.4)]
    assert feeder.send(face(50, 50, score=0.9), seq=5) == []
    assert feeder.send(face(400, 50, score=0.9), seq=2) == []
    assert feeder.counts["late"] == 2
    assert feeder.send(face(50, 50, score=0.9), seq=6) == [(1, 0.9)]


def test_a_new_attempt_starts_anew_and_the_old_one_is_over(feeder: Feeder) -> None:
    feeder.send(face(50, 50, score=0.5))
    assert feeder.send(face(50, 50, score=0.5), attempt=1, seq=0) == [(2, 0.5)], "cameras never use a number twice"
    assert feeder.send(face(50, 50, score=0.9), attempt=0) == []
    assert feeder.end(attempt=0).faces == 0, "the end of an attempt that was given up"
    assert feeder.end(attempt=1).faces == 1
    assert not feeder.stage._sources


def test_a_cut_ends_every_track(feeder: Feeder) -> None:
    assert feeder.send(face(50, 50, score=0.5)) == [(1, 0.5)]
    other = sharp()[::-1, ::-1].copy()
    other[:180] //= 4
    assert feeder.send(face(50, 50, score=0.5), picture=feeder.picture // 2) == [], "darker is no cut"
    assert feeder.send(face(50, 50, score=0.5), picture=other) == [(2, 0.5)]
    assert feeder.counts["cuts"] == 1


def test_a_file_that_is_begun_again_numbers_alike(feeder: Feeder) -> None:
    assert feeder.send(face(50, 50, score=0.5), live=False) == [(1, 0.5)]
    assert feeder.send(face(50, 50, score=0.5), live=False, attempt=1, seq=0) == [(1, 0.5)]


def test_a_successor_uses_no_number_of_the_process_that_died(
    surroundings: Any, monkeypatch: pytest.MonkeyPatch, feeder: Feeder
) -> None:
    used = {track for x in range(9) for track, _ in feeder.send(face(60 * x, 50, score=0.5), time=x * 9.0)}
    surroundings.context = msgspec.structs.replace(surroundings.context, life=1)
    after = Feeder(surroundings, monkeypatch)
    ((track, _),) = after.send(face(50, 50, score=0.5), seq=50)
    assert len(used) == 9
    assert track > max(used)
    assert after.send(face(50, 50, score=0.5), live=False, item=2) == [(1, 0.5)]


def test_another_resolution_ends_every_track(feeder: Feeder) -> None:
    assert feeder.send(face(50, 50, score=0.5)) == [(1, 0.5)]
    half = feeder.picture[::2, ::2].copy()
    assert feeder.send(face(50, 50, score=0.5), picture=half) == [(2, 0.5)], "at that place is somebody else now"
    assert feeder.send(face(52, 50, score=0.9), picture=half) == [(2, 0.9)]


def test_clock_set_back(feeder: Feeder) -> None:
    feeder.send(face(50, 50, score=0.5), time=5000.0)
    feeder.send(face(50, 50, score=0.5), time=4999.9)
    assert feeder.send(face(50, 50, score=0.5), time=1400.0) == [(2, 0.5)]
    assert feeder.send(face(50, 50, score=0.5), time=1400.5) == []
    assert feeder.send(face(50, 50, score=0.5), time=1402.0) == [(3, 0.5)], "tracks end again"


def test_time_passes_for_those_who_wait(feeder: Feeder) -> None:
    feeder.send(face(50, 50, score=0.5), time=0.0)
    told = []
    for step in range(1, 200):
        origin = Origin(item=1, attempt=0, source="s", seq=step, live=True, time=step * 0.1)
        told += [
            round(out.origin.time, 1)
            for out in feeder.stage.process([Detections(origin=origin, image=Image(feeder.picture), faces=())])
        ]
    assert told == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


@pytest.mark.slow
def test_a_real_clip_with_cuts(shared: Path, yunet: YuNet, surroundings: Any) -> None:
    """Cuts at frames 21, 84 and 213; between the last two one man sings alone."""
    stage = TrackStage(Config(track=Track(max_looks=1000, improve=0.0, min_quality=0.0)))
    stage.open(surroundings.context)
    tracker_of: dict[int, set[int]] = {}
    for moment in video.read(str(shared / "data" / "videos" / "short_hamilton_clip.mp4"), Decode(), lambda: None):
        origin = Origin(
            item=1, attempt=0, source="s", seq=moment.number, live=False, time=0.0, position=moment.position
        )
        faces = tuple(look(yunet, moment.image, 640))
        list(stage.process([Detections(origin=origin, image=moment.image, faces=faces)]))
        followed = stage._sources.of(origin).tracker._tracks
        tracker_of[moment.number] = {each.id for each in followed if each.time == moment.position}
    assert 3 <= surroundings.counts["cuts"] <= 5
    scenes = [range(0, 21), range(21, 84), range(84, 213), range(213, 276)]
    ids = [set().union(*(tracker_of.get(number, set()) for number in scene)) for scene in scenes]
    assert all(not a & b for index, a in enumerate(ids) for b in ids[index + 1 :]), "no track survives a cut"
    singer = [tracker_of[number] for number in range(84, 213, 3)]
    (longest,) = {max(ids[2], key=lambda each: sum(each in seen for seen in singer))}
    assert sum(longest in seen for seen in singer) >= 0.8 * len(singer)

"""From pictures to people: embedding, storing, matching, and the finder that does it in one process."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from looks import Watch, embedded, face_at, origin, toward
from media import Walk, frames, portrait, write_video

from vultus.configs.schema import Config, Decode, Store
from vultus.configs.schema import Match as MatchConfig
from vultus.index import FaceRecord, FileRecord, Gallery, StorageError
from vultus.pipeline.chain import Chain
from vultus.pipeline.errors import RefusedInput
from vultus.pipeline.messages import (
    Chips,
    Embedded,
    Item,
    ItemDone,
    ItemEnd,
    Message,
    Sighting,
    TrackedFace,
)
from vultus.stages import match
from vultus.stages.embed import Embed
from vultus.stages.finder import FaceFinder, FoundFace
from vultus.stages.registry import build
from vultus.stages.sources import find
from vultus.weights import Registry


@pytest.fixture(scope="module")
def finder(registry: Registry, data_home: Path) -> Any:
    with FaceFinder(data=data_home) as finder:
        yield finder


@pytest.fixture(scope="module")
def known(finder: FaceFinder, portraits: dict[str, np.ndarray]) -> dict[str, FoundFace]:
    """The face of each portrait."""
    faces = {name: finder.find(image) for name, image in portraits.items() if name != "t1"}
    assert all(len(found) == 1 for found in faces.values())
    return {name: found[0] for name, found in faces.items()}


def test_genuine_pairs_above_the_threshold_and_impostors_below(finder: FaceFinder, known: dict[str, FoundFace]) -> None:
    names = sorted(known)
    for a in names:
        for b in names:
            if a >= b:
                continue
            cosine = float(known[a].vector @ known[b].vector)
            same = a.startswith("person") and a[:8] == b[:8]
            assert (cosine >= finder.threshold) == same, (a, b, cosine)
            assert abs(cosine - finder.threshold) > 0.05, (a, b, cosine)


def test_opencv_agrees_about_the_embedding(registry: Registry, known: dict[str, FoundFace]) -> None:
    peer = cv2.FaceRecognizerSF.create(str(registry.resolve("sface_2021dec").path), "")
    for name, face in known.items():
        theirs = peer.feature(face.chip).ravel()
        assert float(face.vector @ theirs / np.linalg.norm(theirs)) > 0.9999, name
        assert np.linalg.norm(face.vector) == pytest.approx(1, abs=1e-5)


def test_the_finder_reads_files_and_arrays_alike(
    finder: FaceFinder, samples: tuple[Path, Any], known: dict[str, FoundFace], tmp_path: Path
) -> None:
    (face,) = finder.find(samples[0] / "person_b_1.jpg")
    assert float(face.vector @ known["person_b_1"].vector) > 0.9999
    assert face.box == pytest.approx(known["person_b_1"].box)
    assert finder.find(np.zeros((50, 60, 3), np.uint8)) == []
    (tmp_path / "a.jpg").write_bytes(b"hello")
    with pytest.raises(RefusedInput, match="text"):
        finder.find(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="uint8"):
        finder.find(np.zeros((50, 60), np.float32))
    with pytest.raises(RuntimeError, match="open"):
        FaceFinder().find(np.zeros((50, 60, 3), np.uint8))


def test_the_finder_names_the_remedy_for_missing_models(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vultus models pull"), FaceFinder(data=tmp_path):
        pass


def test_chips_of_several_messages_go_through_together(
    registry: Registry, data_home: Path, known: dict[str, FoundFace], surroundings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = np.stack([face.chip for face in known.values()])
    stage = Embed(Config(), data_home)
    stage.open(surroundings.context)
    calls = []
    engine = stage._engine

    class Counting:
        input_size = engine.input_size

        def embed_chips(self, chips: np.ndarray, *, normalize: bool = True) -> np.ndarray:
            calls.append(len(chips))
            return engine.embed_chips(chips, normalize=normalize)

    stage._engine = Counting()
    tracked = TrackedFace(face=face_at(0, 0), track=1, quality=0.5)
    batch: list[Message] = [
        Chips(origin=origin(seq=0), faces=(tracked,) * 2, chips=chips[:2]),
        ItemEnd(origin=origin(item=9)),
        Chips(origin=origin(seq=1), faces=(), chips=chips[:0]),
        Chips(origin=origin(seq=2), faces=(tracked,) * 4, chips=chips[2:]),
    ]
    out = list(stage.process(batch))
    assert calls == [6]
    assert [type(message) for message in out] == [Embedded, ItemEnd, Embedded, Embedded]
    together = np.concatenate([message.vectors for message in out if isinstance(message, Embedded)])
    alone = np.stack([face.vector for face in known.values()])
    assert ((together * alone).sum(axis=1) > 0.9999).all()
    assert list(stage.process([ItemEnd(origin=origin())])) == [ItemEnd(origin=origin())]
    stage.close()


# Store and match, on vectors of the test's own


def end(faces: int, **given: Any) -> ItemEnd:
    more = {key: given.pop(key) for key in ("refused", "size", "mtime_ns", "digest") if key in given}
    return ItemEnd(origin=origin(**given), frames=1, faces=faces, **more)


def test_a_file_is_done_when_its_faces_are_in_the_gallery(make: Any, gallery: Gallery) -> None:
    stage = make("store")
    assert list(stage.process([embedded((1, 0.5, toward(0)), (2, 0.6, toward(1)))])) == []
    assert gallery.stats().faces == 0
    (done,) = list(stage.process([end(2, size=10, mtime_ns=11, digest=b"d" * 16)]))
    assert (done.status, done.faces, done.source) == ("done", 2, "/a.jpg")
    assert gallery.file_state("/a.jpg", 10, 11) == "done"
    first, second = gallery.faces(None)
    assert (first.quality, second.quality, first.track) == (0.5, 0.6, 1)
    stored = gallery.face(first.id)
    chip = cv2.imdecode(np.frombuffer(stored.chip, np.uint8), cv2.IMREAD_COLOR)
    assert chip.shape == (112, 112, 3)
    assert np.abs(chip.astype(int) - 77).max() <= 2
    assert stored.landmarks == pytest.approx(np.array(face_at(0, 10).landmarks), abs=1e-3)


def test_an_end_that_overtakes_its_faces_waits(make: Any, gallery: Gallery) -> None:
    stage = make("store")
    assert list(stage.process([embedded((1, 0.5, toward(0))), end(3)])) == []
    assert list(stage.process([embedded((2, 0.5, toward(1)))])) == []
    (done,) = list(stage.process([embedded((3, 0.5, toward(2)))]))
    assert done.faces == gallery.stats().faces == 3
    assert not stage._files


def test_a_file_that_comes_twice_is_stored_once(make: Any, gallery: Gallery) -> None:
    stage = make("store")
    for attempt in (0, 1):
        messages = [embedded((1, 0.5, toward(0)), attempt=attempt), end(1, attempt=attempt)]
        assert [done.status for done in stage.process(messages)] == ["done"]
    assert gallery.stats().faces == 1
    # What is left of an attempt that was given up mixes with nothing.
    stage.process([embedded((1, 0.5, toward(0)), item=2, source="/b.jpg")])
    late = [
        embedded((1, 0.5, toward(1)), item=2, attempt=1, source="/b.jpg"),
        embedded((7, 0.5, toward(0)), item=2, source="/b.jpg"),
    ]
    (done,) = list(stage.process([*late, end(1, item=2, attempt=1, source="/b.jpg")]))
    assert (done.attempt, done.faces) == (1, 1)


def test_of_a_track_the_best_views_are_kept(make: Any, gallery: Gallery, rand: np.random.Generator) -> None:
    stage = make("store", store=Store(views_per_track=3, keep_chips=False))
    grades = {1: rand.permutation(np.linspace(0.2, 0.9, 12)), 2: np.array([0.5, 0.4])}
    frames = [embedded((1, float(grade), toward(0)), seq=n, position=n / 10) for n, grade in enumerate(grades[1])]
    frames += [
        embedded((2, float(grade), toward(1)), seq=20 + n, position=5.0 + n) for n, grade in enumerate(grades[2])
    ]
    (done,) = list(stage.process([*frames, end(14)]))
    assert done.faces == 5
    kept = gallery.faces(None)
    best = sorted(range(12), key=lambda n: -grades[1][n])[:3]
    assert sorted(face.position for face in kept) == pytest.approx([*sorted(n / 10 for n in best), 5.0, 6.0])
    assert gallery.face(kept[0].id).chip is None


def label_of(make: Any, gallery: Gallery, *looks: tuple[int, float, np.ndarray], **given: Any) -> list[str | None]:
    source = f"/{len(gallery.known_files())}.jpg"
    stage = make("store")
    still = {"still": True, "label": "Anna", "source": source, **given}
    side = still.pop("side", 60.0)
    (done,) = list(stage.process([embedded(*looks, side=side, **still), end(len(looks), **still)]))
    assert done.status == "done"
    assert done.faces == len(looks)
    named = {
        face.id: person.name
        for person in gallery.identities()
        for face in gallery.faces(person.id)
        if face.source == source
    }
    ids = [*named, *(face.id for face in gallery.faces(None) if face.source == source)]
    assert done.unlabelled == (still["label"] is not None and bool(looks) and still["still"] and not named)
    return [named.get(face) for face in sorted(ids)]


def test_a_label_goes_to_the_face_it_means(make: Any, gallery: Gallery, surroundings: Any) -> None:
    one, two = (1, 0.5, toward(0)), (2, 0.5, toward(1))
    assert label_of(make, gallery, one) == ["Anna"]
    assert label_of(make, gallery, one, two) == [None, None], "two alike"
    assert label_of(make, gallery, one, two, side=100.0) == ["Anna", None], "one clearly larger"
    assert surroundings.counts["label_unclear"] == 1
    assert label_of(make, gallery, one, still=False) == [None], "a video"
    assert label_of(make, gallery, one, label=None) == [None]
    assert label_of(make, gallery, one, label="x" * 250) == [None], "no name for a person"
    assert surroundings.counts["label_unclear"] == 2
    assert label_of(make, gallery) == []


def full(*_: object) -> list[int]:
    raise StorageError("the disk is full", 28)


def test_refused_and_full(make: Any, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make("store")
    (done,) = list(stage.process([end(0, refused="not a picture", size=3, mtime_ns=4)]))
    assert (done.status, done.reason) == ("refused", "not a picture")
    assert gallery.file_state("/a.jpg", 3, 4) == "refused"

    monkeypatch.setattr(stage._gallery, "commit_files", full)
    (done,) = list(stage.process([embedded((1, 0.5, toward(0))), end(1)]))
    assert (done.status, done.reason) == ("retry", "the disk is full")


def test_what_a_batch_completes_goes_in_together(make: Any, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make("store")
    batch: list[Message] = []
    for item in range(1, 6):
        given = {"item": item, "source": f"/{item}.jpg"}
        refused = {"refused": "cut in the middle"} if item == 3 else {}
        batch += [embedded((1, 0.5, toward(item)), **given), end(1, size=item, mtime_ns=item, **refused, **given)]
    commits = []
    commit = stage._gallery.commit_files
    monkeypatch.setattr(stage._gallery, "commit_files", lambda files: commits.append(len(files)) or commit(files))
    done = list(stage.process(batch))
    assert commits == [5]
    assert [(each.item, each.status, each.faces) for each in done] == [
        (item, *(("refused", 0) if item == 3 else ("done", 1))) for item in range(1, 6)
    ]
    assert gallery.stats().faces == 4
    assert gallery.file_state("/3.jpg", 3, 3) == "refused"
    monkeypatch.setattr(stage._gallery, "commit_files", full)
    assert [(each.item, each.status) for each in stage.process(batch)] == [(item, "retry") for item in range(1, 6)]
    assert not stage._files


@pytest.fixture
def watch(make: Any, gallery: Gallery) -> Watch:
    gallery.enrol("Anna", [toward(0)], [FaceRecord()])
    gallery.enrol("Bert", [toward(1)], [FaceRecord()])
    gallery.commit_file(FileRecord(source="/x.jpg", size=1, mtime_ns=1), [toward(2)])
    return Watch(make("match", match=MatchConfig(threshold=0.5)))


def test_who_is_known_is_said_at_once_and_once(watch: Watch, gallery: Gallery) -> None:
    assert watch.see(0.0, (1, 0.3, toward(0, 0.6)), (2, 0.5, toward(1, 0.8))) == [(1, "Anna"), (2, "Bert")]
    assert watch.see(0.2, (1, 0.5, toward(0, 0.9))) == [], "nearer, but the same"
    stored = gallery.sightings()
    assert [(row.name, row.track, row.similarity) for row in stored] == [
        ("Anna", 1, pytest.approx(0.6, abs=1e-3)),
        ("Bert", 2, pytest.approx(0.8, abs=1e-3)),
    ]
    assert stored[0].source == "camera"
    assert stored[0].box == pytest.approx((0, 10, 60, 60))


def test_a_blurred_first_look_is_no_stranger(watch: Watch) -> None:
    assert watch.see(0.0, (1, 0.25, toward(0, 0.4))) == []
    assert watch.see(0.8, (1, 0.6, toward(0, 0.7))) == [(1, "Anna")]
    assert watch.see(3.0) == []


def test_a_stranger_is_said_when_time_is_up(watch: Watch, gallery: Gallery) -> None:
    assert watch.see(0.0, (1, 0.5, toward(3))) == []
    assert watch.see(0.5) == []
    assert watch.see(1.4, (1, 0.6, toward(3)), (2, 0.5, toward(4))) == []
    assert watch.see(1.6) == [(1, None)]
    assert watch.see(3.0) == [(2, None)]
    assert watch.see(4.0) == []
    assert [(row.track, row.name) for row in gallery.sightings()] == [(1, None), (2, None)]


def test_a_stranger_after_max_looks_or_when_the_track_is_over(watch: Watch) -> None:
    for step in range(5):
        assert watch.see(step * 0.1, (1, 0.3 + step / 10, toward(3))) == []
    assert watch.see(0.5, (1, 0.95, toward(3))) == [(1, None)], "six looks"
    assert watch.see(1.0, (2, 0.5, toward(4))) == []
    assert watch.see(2.1, (3, 0.5, toward(0))) == [(2, None), (3, "Anna")], "not seen for a second"


def test_a_decision_that_changes_is_said_again(watch: Watch, gallery: Gallery) -> None:
    assert watch.see(0.0, (1, 0.3, toward(3))) == []
    assert watch.see(2.0) == [(1, None)]
    assert watch.see(2.5, (1, 0.5, toward(0, 0.6))) == [(1, "Anna")]
    assert watch.see(3.0, (1, 0.7, toward(1, 0.55))) == [], "not as near as Anna was"
    assert watch.see(3.5, (1, 0.9, toward(1, 0.9))) == [(1, "Bert")]
    assert [row.name for row in gallery.sightings()] == ["Bert"], "one row for a track"


def test_faces_without_a_name_are_nobody(watch: Watch) -> None:
    assert watch.see(0.0, (1, 0.5, toward(2))) == []
    assert watch.see(2.0) == [(1, None)]


def test_who_is_deleted_meanwhile_is_not_named(watch: Watch, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    search = watch.stage._gallery.search

    def search_then_delete(*arguments: Any, **options: Any) -> Any:
        found = search(*arguments, **options)
        gallery.remove_identity("Anna")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(watch.stage._gallery, "search", search_then_delete)
        assert watch.see(0.0, (1, 0.5, toward(0, 0.9))) == []
    assert watch.see(2.0) == [(1, None)]


def test_an_item_ends_with_what_is_left(watch: Watch) -> None:
    watch.see(0.0, (1, 0.5, toward(3)), (2, 0.5, toward(0)))
    messages = list(watch.stage.process([end(2, live=True, source="camera")]))
    assert isinstance(messages[0], Sighting)
    assert messages[0].name is None
    assert messages[1] == ItemDone(item=1, attempt=0, source="camera", status="done", faces=2)
    assert not watch.stage._items
    (refused,) = list(watch.stage.process([end(0, refused="no video")]))
    assert (refused.status, refused.reason) == ("refused", "no video")


def test_a_sighting_that_could_not_be_stored_is_tried_again(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, surroundings: Any
) -> None:
    def full(*_: object) -> int:
        raise StorageError("the disk is full", 28)

    with monkeypatch.context() as patch:
        patch.setattr(watch.stage._gallery, "add_sighting", full)
        assert watch.see(0.0, (1, 0.5, toward(0))) == []
        assert surroundings.counts["not_stored"] == 1
    assert watch.see(0.5) == [(1, "Anna")]


def test_a_camera_that_never_ends_keeps_little(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "_MOST_TRACKS", 16)
    told = [each for n in range(1, 101) for each in watch.see(n * 0.01, (n, 0.5, toward(3)))]
    assert len(watch.stage._items.of(origin(live=True)).people) == 16
    assert told == [(track, None) for track in range(1, 85)], "who is forgotten is told first"


def test_strangers_can_be_left_out(make: Any, gallery: Gallery) -> None:
    gallery.enrol("Anna", [toward(0)], [FaceRecord()])
    quiet = Watch(make("match", match=MatchConfig(threshold=0.5, report_unknown=False)))
    assert quiet.see(0.0, (1, 0.5, toward(3)), (2, 0.5, toward(0))) == [(2, "Anna")]
    assert quiet.see(5.0) == []
    assert len(gallery.sightings()) == 1


# All stages


def run(names: list[str], config: Config, data: Path, items: list[Item]) -> list[Message]:
    with Chain([build(name, config, data) for name in names]) as chain:
        return list(chain.process(items))


def test_archive_then_query_then_watch(
    samples: tuple[Path, Any], finder: FaceFinder, data_home: Path, tmp_path: Path, known: dict[str, FoundFace]
) -> None:
    archive = tmp_path / "archive"
    for name, photo in (
        ("Ema", "person_a_1.jpg"),
        ("Jac", "person_b_1.jpg"),
        ("Bar", "impostor_1.jpg"),
        ("six", "t1.jpg"),
    ):
        (archive / name).mkdir(parents=True)
        (archive / name / photo).write_bytes((samples[0] / photo).read_bytes())
    (archive / "broken.jpg").write_bytes(b"\xff\xd8\xff" + b"\0" * 99)
    (archive / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    config = Config(gallery=str(tmp_path / "g"), decode=Decode(video_step=2))
    way = ["decode", "detect", "track", "align", "embed"]

    items = [found.item(n) for n, found in enumerate(find([str(archive)], label_from_folder=True))]
    done = run([*way, "store"], config, data_home, items)
    assert {Path(each.source).name: (each.status, each.faces) for each in done} == {
        "broken.jpg": ("refused", 0),
        "huge.png": ("refused", 0),
        "person_a_1.jpg": ("done", 1),
        "person_b_1.jpg": ("done", 1),
        "impostor_1.jpg": ("done", 1),
        "t1.jpg": ("done", 6),
    }
    with Gallery.open(tmp_path / "g") as gallery:
        assert sorted(person.name for person in gallery.identities()) == ["Bar", "Ema", "Jac"]
        # The same picture through the finder gives the vector that the stages stored.
        for name, file in (("Ema", "person_a_1"), ("Jac", "person_b_1"), ("Bar", "impostor_1")):
            (face,) = gallery.faces(name)
            assert float(gallery.face(face.id).vector @ known[file].vector) > 0.9999
        (matches,) = gallery.search([known["person_a_2"].vector], 3)
        assert matches[0].name == "Ema"
        assert matches[0].similarity > finder.threshold > matches[1].similarity

    walks = [
        Walk(portrait(samples[0] / "person_a_2.jpg", 240), (0, 60), (160, 90), 0, 59),
        Walk(portrait(samples[0] / "impostor_2.jpg", 240), (420, 90), (330, 60), 10, 59),
    ]
    clip = write_video(tmp_path / "clip.mp4", frames(walks, 75))
    found = next(iter(find([str(clip)])))
    *sightings, last = run([*way, "match"], config, data_home, [found.item(0)])
    assert last.status == "done"
    assert sorted((each.name or "?", each.track) for each in sightings) == [("?", 2), ("Ema", 1)]
    ema = next(each for each in sightings if each.name)
    assert ema.position is not None
    assert 0 <= ema.position <= 2.4
    assert ema.similarity >= finder.threshold


def test_every_stage_of_the_configuration_can_be_built(data_home: Path) -> None:
    for group in (*Config().pipeline.watch, *Config().pipeline.index):
        for name in group.stages:
            assert build(name, Config(), data_home).name == name
    with pytest.raises(ValueError, match="no stage"):
        build("paint", Config(), data_home)

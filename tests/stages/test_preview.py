"""Live pictures: how many, how large, and whose faces are covered in them."""

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from looks import face_at

from vultus.configs.schema import Config, Polygon
from vultus.configs.schema import Preview as Settings
from vultus.pipeline import audience
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Boxes, Detections, Preview
from vultus.stages import preview
from vultus.stages.preview import Glimpses, jpeg, picture
from vultus.stages.track import Track

LEFT_HALF: Polygon = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(preview.time, "time", lambda: now[0])
    monkeypatch.setattr(preview.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(audience, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def noise(rand: np.random.Generator) -> Image:
    """A picture in which everything differs from everything."""
    return Image(cv2.resize(rand.integers(40, 255, (90, 160, 3), np.uint8), (1280, 720)))


class Hasty:
    """Counts how often the next frame was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def hasten(self) -> None:
        self.asked += 1


@pytest.fixture
def film(clock: list[float], noise: Image) -> Callable[..., None]:
    """Shows a camera's frames, 25 a second."""

    def film(glimpses: Glimpses, seconds: float, late: float = 0.0) -> None:
        for _ in range(round(seconds * 25)):
            clock[0] += 0.04
            glimpses.see(clock[0] - late, lambda: noise)

    return film


def opened(shown: Preview) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(shown.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (shown.height, shown.width, 3)
    return pixels


def glimpses(surroundings: Any, zones: tuple[Polygon, ...] = (), attention: Any = None, **settings: Any) -> Glimpses:
    return Glimpses(1, zones, Settings(**settings), surroundings.context, attention)


def test_pictures_are_made_for_whoever_looks_and_for_nobody_else(surroundings: Any, film: Any, clock: Any) -> None:
    camera = glimpses(surroundings)
    film(camera, 1)
    surroundings.look(2)
    film(camera, 1)
    assert not surroundings.shown
    surroundings.look(1)
    film(camera, 10)
    assert 49 <= len(surroundings.shown) <= 51, "ten a second for five seconds"
    shown = surroundings.shown[-1]
    assert (shown.item, shown.width, shown.height, shown.full, shown.veiled) == (1, 640, 360, False, False)
    times = np.diff([shown.time for shown in surroundings.shown])
    assert 0.03 < times.min() < times.max() < 0.13
    assert opened(shown).std() > 20


def test_of_what_a_camera_kept_while_idle_no_pictures_are_made(surroundings: Any, film: Any) -> None:
    camera = glimpses(surroundings)
    surroundings.look(1)
    film(camera, 1, late=2.0)
    assert not surroundings.shown
    film(camera, 0.04)
    assert len(surroundings.shown) == 1


def test_one_picture_that_is_asked_for(surroundings: Any, film: Any) -> None:
    camera = glimpses(surroundings, snapshot_side=1000)
    surroundings.look(1, full=True)
    film(camera, 1)
    (shown,) = surroundings.shown
    assert (shown.full, shown.width, shown.height) == (True, 1000, 562)


def test_zones_are_black(surroundings: Any, film: Any) -> None:
    surroundings.look(1)
    film(glimpses(surroundings, (LEFT_HALF,)), 0.04)
    pixels = opened(surroundings.shown[0])
    assert pixels[:, :310].max() < 10
    assert pixels[:, 330:].mean() > 100


def test_veiled_pictures_are_not_made_before_faces_are_known(surroundings: Any, film: Any) -> None:
    attention = Hasty()
    camera = glimpses(surroundings, attention=attention)
    surroundings.look(1, veiled=True)
    film(camera, 2)
    assert attention.asked == 0
    surroundings.look(1, veiled=True, full=True)
    film(camera, 2)
    assert not surroundings.shown
    assert 4 <= attention.asked <= 5, "twice a second, until somebody gives it"


def covered(shown: Preview, original: np.ndarray, box: tuple[float, ...]) -> bool:
    """Whether a face (box in the source) cannot be seen in the picture, which otherwise is `original`."""
    scale = shown.width / original.shape[1]
    x, y, w, h = (round(value * scale) for value in box)
    small = cv2.resize(original, (shown.width, shown.height), interpolation=cv2.INTER_AREA).astype(float)
    off = np.abs(opened(shown) - small)[y : y + h, x : x + w].mean()
    assert off < 12 or off > 25, off
    return bool(off > 25)


def test_squares_cover_a_face_and_nothing_far_from_it(noise: Image) -> None:
    box, other = (200.0, 200.0, 160.0, 160.0), (700.0, 200.0, 160.0, 160.0)
    for full in (False, True):
        shown = picture(
            1, 5.0, noise, Settings(), full=full, veils=[box, (1250.0, 700.0, 60.0, 60.0), (-90, -90, 9, 9)]
        )
        assert (shown.veiled, shown.time) == (True, 5.0)
        assert covered(shown, noise.array, box)
        assert not covered(shown, noise.array, other)
        scale = shown.width / 1280
        x, y, side = (round(value * scale) for value in (200 - 40, 200 - 53, 240 / 5))
        square = opened(shown)[y + 4 : y + side - 4, x + 4 : x + side - 4]
        assert square.std(axis=(0, 1)).max() < 6, "one colour"
    assert not picture(1, 5.0, noise, Settings()).veiled


def test_a_picture_is_bounded(monkeypatch: pytest.MonkeyPatch, rand: np.random.Generator) -> None:
    pixels = rand.integers(0, 255, (300, 300, 3), np.uint8)
    usual = jpeg(pixels, 75)
    monkeypatch.setattr(preview, "MAX_JPEG", len(usual) // 2)
    assert len(jpeg(pixels, 75)) <= len(usual) // 2


@pytest.fixture
def track(surroundings: Any, clock: Any) -> Iterator[Track]:
    stage = Track(Config())
    stage.open(surroundings.context)
    yield stage
    stage.close()


def found(frame: Any, image: Image, clock: list[float], *places: tuple[float, float]) -> Detections:
    """A frame with faces, 80 ms after the one before."""
    clock[0] += 0.08
    origin = frame(image.array, live=True, time=clock[0], seq=round(clock[0] * 100)).origin
    return Detections(origin=origin, image=image, faces=tuple(face_at(x, y, 160.0) for x, y in places))


def test_boxes_are_told_while_somebody_looks(
    surroundings: Any, frame: Any, noise: Image, clock: Any, track: Track
) -> None:
    list(track.process([found(frame, noise, clock, (200, 200))]))
    assert not surroundings.shown
    surroundings.look(1, full=True)
    list(track.process([found(frame, noise, clock, (200, 200))]))
    assert not surroundings.shown, "who wants one picture wants no boxes"
    surroundings.look(1)
    for message in (found(frame, noise, clock, (201, 200), (700, 200)), found(frame, noise, clock)):
        list(track.process([message]))
        shown = surroundings.shown.pop()
        assert isinstance(shown, Boxes)
        assert (shown.time, shown.width, shown.height) == (message.origin.time, 1280, 720)
        assert [face.box for face in shown.faces] == [face.box for face in message.faces]
        assert [face.track for face in shown.faces] == [1, 2][: len(message.faces)]


def test_of_veiled_pictures_only_who_was_recognised_is_seen(
    surroundings: Any, frame: Any, noise: Image, clock: Any, track: Track
) -> None:
    anna, bert = (200.0, 200.0), (700.0, 200.0)

    def seen(*places: tuple[float, float]) -> tuple[bool, bool]:
        surroundings.look(1, veiled=True)
        surroundings.shown.clear()
        clock[0] += 0.1  # a picture is due
        list(track.process([found(frame, noise, clock, *places)]))
        (shown,) = [shown for shown in surroundings.shown if isinstance(shown, Preview)]
        assert shown.veiled
        first, second = (not covered(shown, noise.array, (*place, 160, 160)) for place in (anna, bert))
        return first, second

    assert seen(anna, bert) == (False, False)
    surroundings.context.audience.permit(1, [2])
    assert seen(anna, bert) == (False, True)
    assert seen(bert) == (False, True), "who is not found now may still be there"
    assert [seen(bert) for _ in range(8)][-1] == (True, True), "but not for ever"
    surroundings.context.audience.permit(1, [])
    assert seen(bert) == (True, False), "a name that was taken back"
    surroundings.look(1, veiled=True, full=True)
    list(track.process([found(frame, noise, clock, bert)]))
    full = surroundings.shown[-1]
    assert (full.full, full.width) == (True, 1280)
    assert covered(full, noise.array, (*bert, 160, 160))


def test_the_settings_of_a_picture_are_checked() -> None:
    for wrong in ({"fps": 0}, {"side": 10}, {"quality": 100}, {"snapshot_side": 10_000}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Settings)

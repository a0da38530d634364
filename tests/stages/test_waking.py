"""Cameras before which nothing happens: what is decoded and handed on, and that waking up loses nothing."""

import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from media import frames, write_video
from rtsp import RtspServer, need_gstreamer
from watcher import Watcher, item

from vultus.configs.schema import Config, View
from vultus.configs.schema import Decode as Limits
from vultus.pipeline.frames import Image
from vultus.pipeline.pixels import Layout
from vultus.stages import waking
from vultus.stages.motion import Motion
from vultus.stages.waking import Attention, Decoded, choose
from vultus.stages.zones import covered

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


class Packet(msgspec.Struct):
    number: int
    is_keyframe: bool
    size: int
    x: int | None
    """Where a white square stands in the picture."""


class Decoder:
    """Refuses to decode what its predecessor was not decoded for, as a real one does."""

    def __init__(self, rand):
        noise = rand.normal(100, 8, (8, 90, 160))
        self.noise, self.last, self.decoded = np.clip(noise, 0, 255).astype(np.uint8), None, []

    def _picture(self, packet):
        luma = self.noise[packet.number % 8].copy()
        if packet.x is not None:
            luma[30:50, packet.x // 2 : packet.x // 2 + 20] = 250
        self.decoded.append(packet.number)
        return [Decoded(packet.number, luma)]

    def decode(self, packet):
        assert packet.is_keyframe or self.last == packet.number - 1, "a packet whose predecessor is missing"
        self.last = packet.number
        return self._picture(packet)

    def only(self, packet):
        assert packet.is_keyframe
        self.last = None
        return self._picture(packet)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the packets drive."""
    now = [1000.0]
    monkeypatch.setattr(waking.time, "time", lambda: now[0])
    monkeypatch.setattr(waking.time, "monotonic", lambda: now[0])
    return now


def run(clock, rand, *, seconds, enters=None, size_tells=False, faces=(), limits=None, gop=50, looked_at=None):
    """25 packets a second, a key frame every `gop`; somebody walks through from second `enters` on."""
    attention, decoder = Attention(limits or Limits(), (), looked_at or (lambda: False)), Decoder(rand)
    got = []

    def packets():
        for number in range(int(seconds * 25)):
            clock[0] = 1000.0 + number / 25
            at = number / 25
            if any(abs(at - seen) < 0.02 for seen in faces):
                attention.notice()
            inside = enters is not None and at >= enters
            yield Packet(
                number,
                number % gop == 0,
                20_000 if number % gop == 0 else 6_000 if inside and size_tells else 400,
                int(min(279, (at - enters) * 100)) if inside else None,
            )

    for when, decoded, wanted in choose(packets(), decoder, attention):
        if wanted:
            got.append((decoded.frame, clock[0] - when))
    return got, decoder, attention


def test_still_cameras_are_looked_at_rarely_and_then_by_key_frames_only(clock, rand):
    got, decoder, attention = run(clock, rand, seconds=60)
    late = [number for number in decoder.decoded if number >= 12 * 25]
    assert late
    assert all(number % 50 == 0 for number in late), "only key frames"
    assert len(late) == 24
    assert 20 <= len([number for number, _ in got if number >= 12 * 25]) <= 24, "and each of them is handed on"
    assert attention.counts["idle"] > 1000


def test_who_comes_between_two_key_frames_is_seen_from_the_first_step(clock, rand):
    for size_tells, latest in ((False, 2.1), (True, 0.1)):
        got, decoder, _ = run(clock, rand, seconds=40, enters=30.5, size_tells=size_tells)
        first = 30.5 * 25
        assert set(range(int(first) + 1, 1000)) <= set(decoder.decoded), "nothing of the visit is left out"
        seen = [(number, late) for number, late in got if number >= first]
        assert seen[0][0] <= first + 6
        assert max(late for _, late in seen) <= latest
        numbers = [number for number, _ in seen]
        assert numbers == sorted(set(numbers))
        assert len([number for number in numbers if number > first + 60]) >= 0.8 * 5 * (9.5 - 2.4), "five a second"


def test_faces_are_looked_at_more_often_than_movement(clock, rand):
    got, _, _ = run(clock, rand, seconds=40, enters=30.0, faces=[30.5 + half / 2 for half in range(20)])
    assert len([number for number, _ in got if number >= 32 * 25]) >= 0.8 * 12.5 * 8
    still, _, _ = run(clock, rand, seconds=40, faces=[20.0 + half / 2 for half in range(40)])
    assert len([number for number, _ in still if number >= 21 * 25]) >= 0.8 * 12.5 * 19, "also of who stands still"


def test_a_camera_that_somebody_looks_at_closely_is_decoded_and_analysed_no_more_often(clock, rand):
    got, decoder, _ = run(clock, rand, seconds=40, looked_at=lambda: clock[0] >= 1029.5)
    assert set(range(29 * 25, 1000)) <= set(decoder.decoded), "also what came since the key frame before"
    assert len([number for number, _ in got if number >= 31 * 25]) <= 5


def test_the_next_frame_can_be_asked_for(clock, rand):
    attention = Attention(Limits(), ())
    luma = rand.integers(0, 255, (90, 160), np.uint8)
    clock[0] += 60
    assert attention.wanted(luma)
    assert not attention.wanted(luma)
    attention.hasten()
    assert attention.wanted(luma)
    assert not attention.wanted(luma)


def test_key_frames_that_are_far_apart_end_idling(clock, rand):
    _, decoder, _ = run(clock, rand, seconds=80, gop=1200)
    assert len(decoder.decoded) > 0.5 * 80 * 25, "what is kept is bounded, so it is awake most of the time"


def test_movement_is_told_from_noise_light_and_masks(rand):
    def picture(level=100.0, square=None):
        luma = np.clip(rand.normal(level, 10, (1080, 1920)), 0, 255).astype(np.uint8)
        if square is not None:
            luma[500:640, square : square + 90] = 220
        return luma

    gate, masked = Motion(), Motion([LEFT_HALF])
    for motion in (gate, masked):
        assert motion.look(picture()), "the first picture is news"
        assert not any(motion.look(picture()) for _ in range(10))
        assert not any(motion.look(picture(100 + step)) for step in range(10)), "the sun comes out"
    assert gate.look(picture(109, square=300))
    assert not masked.look(picture(109, square=300))
    assert masked.look(picture(109, square=1500))


@pytest.mark.parametrize("planar", [True, False])
def test_zones_are_black_and_the_original_is_not_touched(rand, planar):
    if planar:
        layout = Layout(format="yuv420p", width=64, height=32, strides=(64, 32, 32))
        image = Image.planar(layout, [rand.integers(60, 255, size, np.uint8) for size in layout.sizes])
    else:
        image = Image(rand.integers(60, 255, (32, 64, 3), np.uint8))
    before = image.array.copy()
    black = covered(image, [LEFT_HALF])
    assert not black.array[:, :30].any()
    assert np.abs(black.array[:, 36:].astype(int) - before[:, 36:]).max() <= 1
    assert np.array_equal(image.array, before)
    assert covered(image, ()) is image


@pytest.mark.slow
def test_a_still_camera_on_a_real_server(tmp_path: Path, surroundings: object, rand: np.random.Generator) -> None:
    need_gstreamer()
    ground = next(iter(frames([], 1))).astype(int)
    pictures = (np.clip(ground + rand.normal(0, 4, ground.shape), 0, 255).astype(np.uint8) for _ in range(50))
    film = write_video(tmp_path / "still.mp4", pictures)
    config = Config(decode=Limits(idle_after=1.0, still_every=0.4))
    view = View(zones=(LEFT_HALF,))
    with RtspServer({"one": film}) as server:
        camera = msgspec.structs.replace(item(server.url("one")), view=view)
        with Watcher(surroundings, config, camera) as watcher:
            watcher.wait_for(lambda: surroundings.counts["idle"] > 25, 20)
            seen, begin = len(watcher.frames()), time.monotonic()
            watcher.wait_for(lambda: len(watcher.frames()) >= seen + 3, 10)
            assert time.monotonic() - begin > 0.6, "a key frame every half second"
    assert not cv2.cvtColor(watcher.frames()[-1].image.array, cv2.COLOR_BGR2GRAY)[:, :318].any()
    assert not watcher.states("lost")

"""A real RTSP server behind a proxy that spoils what it sends, many cameras in one process at once."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
import pytest
from media import frames
from rtsp import RtspServer, need_gstreamer
from rtsp_proxy import (
    Fault,
    RtspProxy,
    absurd_length,
    damaged,
    garbage,
    half_a_frame,
    half_a_packet,
    lossy,
    noise,
    refused,
    replies,
    times,
    whole,
)
from watcher import Watcher, item

from vultus.configs.schema import Config, View
from vultus.configs.schema import Decode as Limits
from vultus.stages import camera, video

PROMISED = Config(decode=Limits(motion=False))
"""The defaults: noticed within 10 s, and back within 5 s."""
BACK = 5.0
HOUR = 3600 * 90_000
SECRET = "s3cret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    need_gstreamer()
    folder = tmp_path_factory.mktemp("hostile")
    video.write(folder / "film.mp4", frames([], 100, (320, 180)), 25)
    video.write(folder / "rare.mp4", frames([], 100, (320, 180)), 25, key_every=4)
    with RtspServer({"film": folder / "film.mp4", "rare": folder / "rare.mp4"}, "viewer", SECRET) as server:
        yield server


class Cameras:
    """Cameras behind a proxy each, and the last one behind none."""

    def __init__(self, server: RtspServer, surroundings: object, count: int, *, udp: bool = False) -> None:
        self._inside = ExitStack()
        self.proxies = [self._inside.enter_context(RtspProxy(server.port)) for _ in range(count)]
        addresses = [*(proxy.url(server.url("film")) for proxy in self.proxies), server.url("film")]
        items = [item(address, number) for number, address in enumerate(addresses)]
        if udp:
            items = [msgspec.structs.replace(one, view=View(transport="udp")) for one in items]
        self.watcher = Watcher(surroundings, PROMISED, *items)

    def __enter__(self) -> "Cameras":
        self._inside.enter_context(self.watcher)
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.stop()
        self._inside.close()

    def arrive(self, seconds: float = 20.0) -> None:
        """Wait for pictures of all."""
        self.watcher.wait_for(lambda: all(self._sends(number, 0) for number in range(len(self.proxies) + 1)), seconds)

    def reason(self, number: int) -> str:
        """Why a camera was given up first; nothing if it was not."""
        lost = self.watcher.states("lost", number)
        return lost[0].reason if lost else ""

    def heal(self, number: int) -> float:
        """End the fault of a camera; seconds until it sent five pictures again."""
        seen = len(self.watcher.frames(number))
        self.proxies[number].fault = whole
        return self.watcher.wait_for(lambda: self._sends(number, seen), 30)

    def _sends(self, number: int, beyond: int) -> bool:
        return len(self.watcher.frames(number)) >= beyond + 5

    def suffer(self, faults: list[Fault], held: float = 0.0) -> list[tuple[float, float]]:
        """Each camera its fault until it was noticed, at least for `held` seconds: when it was, and how long healing took."""
        begin = time.monotonic()
        for proxy, fault in zip(self.proxies, faults, strict=True):
            proxy.fault = fault
        found = [(0.0, 0.0)] * len(faults)

        def one(number: int) -> None:
            noticed = self.watcher.wait_for(lambda: self.reason(number), 20)
            threading.Event().wait(max(0.0, begin + held - time.monotonic()))
            found[number] = (noticed, self.heal(number))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(faults))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


def resident() -> float:
    """MB of memory that this process has."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1)) / 1024


class Peak:
    """By how many MB memory grew at most, looked at 20 times a second."""

    def __enter__(self) -> "Peak":
        self.before, self.most, self._over = resident(), 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, resident() - self.before)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def judge(cameras: Cameras, expected: list[str], found: list[tuple[float, float]]) -> None:
    """Whether promises were kept, and each was told why."""
    told = [cameras.reason(number) for number in range(len(expected))]
    print([(reason, *(round(seconds, 1) for seconds in times)) for reason, times in zip(told, found, strict=True)])
    for reason, words, (noticed, back) in zip(told, expected, found, strict=True):
        assert reason
        assert words in reason
        assert 0 < noticed < 10
        assert 0 < back < BACK
    assert not cameras.watcher.states("lost", len(expected)), "the one beside them has nothing to do with it"
    assert SECRET not in repr(cameras.watcher.surroundings.states)


@pytest.mark.slow
def test_streams_that_break_in_mid_stream(server: RtspServer, surroundings: object, rand: np.random.Generator) -> None:
    spoilt = {
        "nothing usable for 4 s": [half_a_packet, half_a_frame, absurd_length],
        "": [noise(rand)],  # in which FFmpeg may see requests, so that the server hangs up on its answers
        "hardly any of which can be decoded": [garbage(rand)],
    }
    faults = [fault for several in spoilt.values() for fault in several]
    with Cameras(server, surroundings, len(faults)) as cameras:
        cameras.arrive()
        beside = cameras.watcher.frames(len(faults))
        with Peak() as peak:
            found = cameras.suffer(faults)
        went_on = cameras.watcher.frames(len(faults))[len(beside) :]
        judge(cameras, [words for words, several in spoilt.items() for _ in several], found)
    gaps = np.diff([frame.origin.time for frame in went_on])
    assert gaps.max() < 1.0, "nobody waits for another one's camera"
    assert peak.most < 400, "six decoders, and every connection twice for a moment"


@pytest.mark.slow
def test_servers_that_answer_nonsense(server: RtspServer, surroundings: object, rand: np.random.Generator) -> None:
    body = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 2147483600\r\n\r\n"
    spoilt = {
        "": [replies(lambda: rand.bytes(300))],  # what is said depends on what FFmpeg makes of it
        "no answer within 5 s": [replies(b"X-A: b\r\n" * 500, endless=True)],
        "sends no stream that can be read": [replies(body + b"v=0\r\n" * 4000, endless=True)],
        "no stream at this path": [refused("404 Not Found")],
        "cannot send this stream now": [refused("503 Service Unavailable")],
        "connection refused": [refused("302 Found", "Location: rtsp://viewer:other@127.0.0.1:1/secret")],
    }
    faults = [fault for several in spoilt.values() for fault in several]
    with Cameras(server, surroundings, len(faults)) as cameras:
        for proxy, fault in zip(cameras.proxies, faults, strict=True):
            proxy.fault = fault
        with Peak() as peak:
            found = cameras.suffer(faults, held=9)  # then pauses last 8 s, which a knock ends
        judge(cameras, [words for words, several in spoilt.items() for _ in several], found)
        assert "other" not in repr(surroundings.states)
    assert peak.most < 400, "what a server says of itself is bounded, though it announces 2 GB"


@pytest.mark.slow
def test_damage_that_a_stream_survives(server: RtspServer, surroundings: object, rand: np.random.Generator) -> None:
    first: list[int] = []

    def backwards(at: int) -> int:
        first.append(at) if not first else None
        return 2 * first[0] - at

    faults = [
        damaged(rand, 0.03),
        lossy(rand, 0.1),
        times(lambda at: at + 7 * HOUR),
        times(backwards),
        times(lambda at: at + int(rand.integers(-HOUR, HOUR))),
        garbage(rand, kept=14),
    ]
    with Cameras(server, surroundings, len(faults)) as cameras:
        cameras.arrive()
        for proxy, fault in zip(cameras.proxies, faults, strict=True):
            proxy.fault = fault
        sound = range(len(faults) - 1)
        before = [len(cameras.watcher.frames(number)) for number in sound]
        cameras.watcher.wait_for(
            lambda: all(len(cameras.watcher.frames(number)) >= was + 75 for number, was in enumerate(before)), 15
        )
        for number in sound:
            came = [frame.origin.time for frame in cameras.watcher.frames(number)]
            assert came == sorted(came), "times are those of arrival"
            assert not cameras.reason(number), "nothing that a new connection would mend"
        # Of packets that are some in name only FFmpeg makes a picture now and then, of any size.
        assert cameras.heal(len(sound)) < BACK
        cameras.watcher.wait_for(lambda: cameras.watcher.frames(len(sound))[-1].image.width == 320, BACK)


@pytest.mark.slow
def test_udp_that_loses_packets_and_then_all_of_them(
    server: RtspServer, surroundings: object, rand: np.random.Generator
) -> None:
    with Cameras(server, surroundings, 2, udp=True) as cameras:
        cameras.arrive()
        seen = len(cameras.watcher.frames(0))
        cameras.proxies[0].fault = lossy(rand, 0.05)
        cameras.proxies[1].fault = damaged(rand, 0.03)
        cameras.watcher.wait_for(lambda: len(cameras.watcher.frames(0)) >= seen + 50, 10)
        assert not cameras.reason(0)
        assert not cameras.reason(1)
        nothing = lossy(rand, 1.0)
        judge(cameras, ["nothing usable for 4 s"] * 2, cameras.suffer([nothing, nothing]))


@pytest.mark.slow
def test_key_frames_that_are_far_apart_are_waited_for(
    server: RtspServer, surroundings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "_USELESS", 0.5)
    with (
        RtspProxy(server.port) as proxy,
        Watcher(surroundings, PROMISED, item(server.url("rare")), item(proxy.url(server.url("rare")), 1)) as watcher,
    ):
        proxy.fault = lambda piece: b"" if piece.is_rtp and not watcher.frames() else piece.wire
        watcher.wait_for(lambda: watcher.frames(1), 15)
        assert not watcher.states("lost", 1), (
            "who comes in the middle sees nothing until the next one, which is no damage"
        )

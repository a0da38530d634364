"""Live sources against a real RTSP server that dies, freezes, comes back and asks for passwords."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from media import Walk, frames, portrait, write_video
from ports import free_port
from rtsp import RtspServer, need_gstreamer
from watcher import QUICK, Watcher, item

from vultus.configs.schema import Config
from vultus.configs.schema import Decode as Limits
from vultus.configs.serving import Networks
from vultus.pipeline.messages import ItemEnd
from vultus.stages import camera
from vultus.stages.decode import Decode
from vultus.stages.grabber import SourceLost
from vultus.stages.probing import probe

PASSWORD = "geh%2Feim:@s3cret"


@pytest.fixture(scope="module")
def clip(samples: tuple[Path, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_gstreamer()
    folder = tmp_path_factory.mktemp("camera")
    walks = [Walk(portrait(samples[0] / "person_b_2.jpg", 240), (10, 40), (380, 60))]
    return write_video(folder / "clip.mp4", frames(walks, 100))


@pytest.fixture
def server(clip: Path) -> Iterator[RtspServer]:
    with RtspServer({"one": clip, "two": clip}) as server:
        yield server


@pytest.mark.slow
def test_killed_and_started_again(server: RtspServer, surroundings: object) -> None:
    with Watcher(surroundings, QUICK, item(server.url("one"))) as watcher:
        watcher.wait_for(lambda: len(watcher.frames()) >= 20, 20)
        assert [state.reason for state in watcher.states("connected")] == ["640×360"]
        first = watcher.frames()[0]
        assert first.origin.live
        assert first.image.array.shape == (360, 640, 3)
        assert abs(first.origin.time - time.time()) < 20

        server.kill()
        assert watcher.wait_for(lambda: watcher.states("lost"), 10) < 10
        lost = watcher.states("lost")[0]
        assert lost.reason
        assert lost.retry_in == 0.2
        watcher.wait_for(lambda: len(watcher.states("lost")) >= 4, 20)
        assert [state.retry_in for state in watcher.states("lost")[:4]] == [0.2, 0.4, 0.8, 1.0]
        assert "refused" in watcher.states("lost")[2].reason

        seen = len(watcher.frames())
        server.start()
        watcher.wait_for(lambda: len(watcher.frames()) >= seen + 10, 20)
        assert len(watcher.states("connected")) == 2
        assert watcher.stop() < 1.5
        numbers = [frame.origin.seq for frame in watcher.frames()]
        assert numbers == sorted(set(numbers))
        assert isinstance(watcher.messages[-1], ItemEnd)
        assert watcher.messages[-1].frames == len(numbers)
    assert watcher.states("ended")


@pytest.mark.slow
def test_frozen_is_noticed_and_healed(server: RtspServer, surroundings: object) -> None:
    config = Config(decode=Limits(retry_first=0.2))  # the other defaults are what is promised: within 10 s
    with Watcher(surroundings, config, item(server.url("one"))) as watcher:
        watcher.wait_for(lambda: len(watcher.frames()) >= 10, 20)
        server.freeze()
        assert watcher.wait_for(lambda: watcher.states("lost"), 10) < 10
        assert "nothing usable for 4 s" in watcher.states("lost")[0].reason
        seen = len(watcher.frames())
        server.thaw()
        watcher.wait_for(lambda: len(watcher.frames()) >= seen + 10, 30)
        assert watcher.stop() < 1.5


@pytest.mark.slow
def test_frozen_while_it_is_asked(server: RtspServer, surroundings: object) -> None:
    server.freeze()
    config = Config(decode=Limits(retry_first=0.1, open_timeout=0.5))
    with Watcher(surroundings, config, item(server.url("one"))) as watcher:
        watcher.wait_for(lambda: len(watcher.states("lost")) >= 2, 10)
        assert watcher.states("lost")[0].reason == "no answer within 0.5 s"
        assert watcher.stop() < 1.5
    server.thaw()


def test_reads_that_never_return_do_not_pile_up(surroundings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = [], threading.Event()

    def hang(*_: object, **__: object) -> Iterator[np.ndarray]:
        begun.append(threading.current_thread())
        release.wait(30)
        raise SourceLost("returned at last")
        yield

    monkeypatch.setattr(camera.video, "listen", hang)
    config = Config(decode=Limits(retry_first=0.01, retry_max=0.05, open_timeout=0.05))
    with Watcher(surroundings, config, item("rtsp://127.0.0.1/x")) as watcher:
        watcher.wait_for(lambda: [s for s in watcher.states("lost") if "still hang" in s.reason], 10)
        assert len(begun) == 3
        release.set()
        watcher.wait_for(lambda: len(begun) > 3, 10)
        # Each ends when its read returns.
        watcher.wait_for(lambda: not any(thread.is_alive() for thread in begun[:3]), 10)
        assert watcher.stop() < 1.5


@pytest.mark.slow
def test_one_that_hangs_does_not_hold_up_another(server: RtspServer, clip: Path, surroundings: object) -> None:
    with RtspServer({"three": clip}) as other:
        items = [item(server.url("one"), 0), item(server.url("two"), 1), item(other.url("three"), 2)]
        with Watcher(surroundings, QUICK, *items) as watcher:
            watcher.wait_for(lambda: all(len(watcher.frames(n)) >= 10 for n in range(3)), 20)
            other.freeze()
            seen = len(watcher.frames(0))
            # 25 frames a second from each of the others, all the while.
            watcher.wait_for(lambda: watcher.states("lost", 2), 10)
            took = watcher.wait_for(lambda: len(watcher.frames(0)) >= seen + 75, 10)
            assert took < 5
            other.thaw()


@pytest.mark.slow
def test_wrong_password_is_said_and_not_leaked(
    clip: Path, surroundings: object, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with RtspServer({"one": clip}, user="viewer", password="right") as server:
        with Watcher(
            surroundings, QUICK, item(server.url("one", PASSWORD)), item(server.url("none", "right"), 1)
        ) as watcher:
            watcher.wait_for(lambda: watcher.states("lost") and watcher.states("lost", 1), 20)
            lost = watcher.states("lost")[0]
            assert "password is wrong" in lost.reason
            assert lost.retry_in == QUICK.decode.retry_max, "an account must not be locked by trying fast"
            assert "no stream at this path" in watcher.states("lost", 1)[0].reason
        wrong = probe(server.url("one", PASSWORD), QUICK)
        assert not wrong.works
        assert "password is wrong" in wrong.reason
        assert "USER:PASSWORD" in wrong.remedy
        here = Networks(allowed=("127.0.0.0/8",))
        for networks in (None, here):
            works = probe(server.url("one"), QUICK, networks=networks)
            assert (works.works, works.codec, works.width) == (True, "h264", 640)
            assert 20 < works.fps < 30
            assert works.jpeg.startswith(b"\xff\xd8")
        assert "must not lead" in probe(server.url("one"), QUICK, networks=Networks()).reason
    told = repr(surroundings.states) + caplog.text + "".join(capfd.readouterr()) + repr(wrong)
    for secret in (PASSWORD, "s3cret", "right@"):
        assert secret not in told


def test_nobody_there(surroundings: object) -> None:
    items = [
        item(f"rtsp://u:{'pw123'}@127.0.0.1:{free_port()}/x"),
        item("rtsp://u:pw123@no-such-host.invalid/x", 1),
        item("webcam:97", 2, kind="webcam"),
        item("rtsp://u:pw123@[::1/x", 3),
    ]
    with Watcher(surroundings, QUICK, *items) as watcher:
        watcher.wait_for(lambda: all(watcher.states("lost", n) for n in range(4)), 30)
    reasons = [watcher.states("lost", n)[0].reason for n in range(4)]
    assert "connection refused" in reasons[0]
    assert reasons[1] == "the host name no-such-host.invalid is not known"
    assert reasons[2] == "there is no /dev/video97"
    assert "pw123" not in repr(surroundings.states)


@pytest.mark.slow
def test_the_newest_frame_wins(server: RtspServer, surroundings: object) -> None:
    stage = Decode(QUICK)
    stage.open(surroundings.context)
    messages = stage.process([item(server.url("one"))])
    times = []
    for message in messages:
        # A consumer that takes a fifth of a second for each frame; the camera sends five in that time.
        times.append(time.time() - message.origin.time)
        if len(times) == 12:
            break
        time.sleep(0.2)
    messages.close()
    assert max(times[2:]) < 0.5, "frames that wait would be 1.9 s old at the end"
    assert surroundings.counts["skipped"] >= 30
    assert surroundings.counts["frames"] == 12


def test_a_mistake_of_ours_is_not_swallowed(surroundings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Iterator[np.ndarray]:
        raise ZeroDivisionError("ours")
        yield

    monkeypatch.setattr(camera.video, "listen", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        list(camera.watch([item("rtsp://127.0.0.1/x")], QUICK, surroundings.context))

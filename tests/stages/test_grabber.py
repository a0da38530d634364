"""One connection to a live source: what it leaves behind."""

import gc
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from media import write_video

from vultus.configs.schema import Decode
from vultus.stages import video
from vultus.stages.grabber import Ear, Grabber, Shot


@pytest.fixture
def no_collection_by_itself():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("wanted", [3, 1000])
@pytest.mark.usefixtures("no_collection_by_itself")
def test_a_connection_that_ended_leaves_nothing(wanted: int, tmp_path: Path) -> None:
    """Neither one that broke nor one that was given up: cameras reconnect for weeks."""
    path = write_video(tmp_path / "clip.mp4", [np.full((72, 96, 3), shade, np.uint8) for shade in range(12)])
    ready = threading.Condition()
    grabber = Grabber("test", partial(video.listen, str(path), Decode(), None), ready)
    grabber.start()
    taken = 0
    while taken < wanted:
        with ready:
            assert ready.wait_for(lambda: grabber.waiting or grabber.error is not None, timeout=20)
            shot = grabber.take()
        if shot is None:
            break
        taken += 1
    grabber.abandon()
    grabber.join(20)
    assert not grabber.is_alive()
    del shot
    assert not [each for each in gc.get_objects() if isinstance(each, av.container.InputContainer)]


def test_what_is_hardly_ever_whole_is_useless(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(gc, "collect", lambda: 0)

    def useless_after(signs: str) -> float:
        """What is said after a second for each sign: x is damaged, F a whole frame, . a packet of which nothing comes."""

        def reader(ear: Ear) -> Iterator[tuple[float, Shot, bool]]:
            for sign in signs:
                now[0] += 1
                ear.alive()
                if sign == "x":
                    ear.broken()
                elif sign == "F":
                    yield 0.0, lambda: None, False

        grabber = Grabber("test", reader, threading.Condition())
        grabber.run()
        return grabber.useless_for(now[0])

    assert useless_after("....") == 0, "a key frame is waited for"
    assert useless_after("x.x.x.") == 5, "garbage, of which not every packet is called damaged"
    assert useless_after("x.....") == 0, "one bad picture of a camera of which only key frames are decoded"
    assert useless_after("xxxFF") == 0
    assert useless_after("xxxxxxxxFx") == 9, "now and then FFmpeg takes garbage for a picture"
    assert useless_after("x" * 500 + "F" * 23) == 0, "but what is over is forgotten soon"
    assert useless_after("xFxFxxFxFxxxFxF") == 0, "a stream that loses packets shows something"

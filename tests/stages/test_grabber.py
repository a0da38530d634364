"""One connection to a live source: what it leaves behind."""

import gc
import threading
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from media import write_video

from vultus.configs.schema import Decode
from vultus.stages import video
from vultus.stages.grabber import Grabber


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

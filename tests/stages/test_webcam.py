"""Webcams that are not there, come, and are pulled out. No real one is at hand, so OpenCV's part is a stand-in."""

import os

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from watcher import QUICK, Watcher, item

from vultus.stages import webcam

FAST = replace(QUICK, decode=replace(QUICK.decode, retry_first=0.02, retry_max=0.08))
DEVICE = "/dev/video63"


class Plugged:
    """Twenty pictures, one of them broken, and it is pulled out."""

    def __init__(self, device: str, _api: int) -> None:
        assert device == DEVICE
        self.left = 20

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return self.left != 15, np.full((48, 64, 3), self.left, np.uint8)

    def release(self) -> None:
        pass


class Taken(Plugged):
    def isOpened(self) -> bool:
        return False


@pytest.mark.skipif(os.path.exists(DEVICE), reason=f"{DEVICE} is there")
def test_one_that_is_missing_comes_and_goes(surroundings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with Watcher(surroundings, FAST, item("webcam:63", kind="webcam")) as watcher:
        watcher.wait_for(lambda: len(watcher.states("lost")) >= 4, 10)
        lost = watcher.states("lost")
        assert {state.reason for state in lost} == {f"there is no {DEVICE}"}
        assert [state.retry_in for state in lost[:4]] == [0.02, 0.04, 0.08, 0.08], "for ever, with growing pauses"
        monkeypatch.setattr(cv2, "VideoCapture", Taken)
        monkeypatch.setattr(webcam.os.path, "exists", lambda path: path == DEVICE)
        watcher.wait_for(
            lambda: watcher.states("lost")[-1].reason.endswith(
                "may not be opened by this user; members of the group video may"
            ),
            10,
        )
        monkeypatch.setattr(webcam.os, "access", lambda path, _mode: path == DEVICE)
        watcher.wait_for(lambda: "another program" in watcher.states("lost")[-1].reason, 10)
        monkeypatch.setattr(cv2, "VideoCapture", Plugged)
        watcher.wait_for(lambda: watcher.states("connected") and watcher.frames(), 10)
        seen = len(watcher.states("lost"))
        watcher.wait_for(lambda: len(watcher.states("lost")) > seen, 10)
    assert (watcher.states("connected")[0].decoder, watcher.states("connected")[0].size) == ("Video4Linux", (64, 48))
    assert f"{DEVICE} sends no more pictures" in {state.reason for state in watcher.states("lost")}

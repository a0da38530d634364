"""Devices that decode video: tried in turn, and the processor where there is none, said in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available

from vultus.configs.schema import Decode
from vultus.stages import hardware, video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "grey.mp4"
    video.write(path, [np.full((90, 160, 3), level, np.uint8) for level in range(5)], rate=25)
    return path


@pytest.mark.parametrize(
    ("asked", "kind", "why", "tried"),
    [
        ("none", None, "", []),
        ("auto", "vaapi", "vaapi is not for this codec", ["cuda", "qsv", "vaapi"]),
        ("vaapi", "vaapi", "vaapi is not for this codec", ["vaapi"]),
        ("cuda", None, "no device: cuda: no GPU", ["cuda"]),
        ("vdpau", None, "this FFmpeg has no vdpau, only cuda, qsv, vaapi, drm", []),
    ],
)
def test_which_is_taken(asked: Any, kind: str | None, why: str, tried: list[str]) -> None:
    troubles = {"cuda": "no GPU", "qsv": "not for h264", "vaapi": None, "drm": None}
    opened: list[str] = []

    def trouble_of(what: str) -> str | None:
        opened.append(what)
        return troubles[what]

    found = hardware.choose(Decode(hardware=asked), list(troubles), trouble_of)
    assert (found.kind, found.why) == (kind, why)
    assert opened == tried
    assert found.decoder("h264", accelerated=True) == f"h264 by {kind}"


@pytest.mark.parametrize("asked", ["none", "auto"])
def test_a_film_is_decoded_with_and_without(film: Path, asked: Any) -> None:
    limits, told = Decode(hardware=asked, video_step=1), list[str]()
    assert len(list(video.read(str(film), limits, lambda: None, told.append))) == 5
    (decoder,) = told
    if " by " in decoder:
        pytest.skip("there is a device that decodes here")
    assert decoder.startswith("h264 in software")
    assert all((kind in decoder) == (asked == "auto") for kind in hwdevices_available()), "each that was tried is named"

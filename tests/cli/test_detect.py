"""`vultus detect`: tables, JSON, drawings, several detectors side by side, and what it is told of wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import Run
from media import Walk, frames, portrait, write_video
from PIL import Image

from vultus.configs.schema import Decode
from vultus.stages import video
from vultus.weights import Registry


def test_one_photo_with_a_drawing(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    photo = samples[0] / "t1.jpg"
    answer = vultus("detect", photo, "--out", tmp_path / "out.png")
    assert f"{photo}: 6 faces by yunet_2023mar in " in answer.out
    with Image.open(photo) as before, Image.open(tmp_path / "out.png") as after:
        assert before.size == after.size
        changed = (np.asarray(before) != np.asarray(after)).any(axis=2)
    assert 0.005 < changed.mean() < 0.2


def test_json_of_two_detectors_and_a_file_that_is_none(
    vultus: Run, mtcnn_registry: Registry, samples: tuple[Path, Any], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    photo = samples[0] / "person_b_1.jpg"
    given = ("--detector", "yunet_2023mar", "--detector", "mtcnn", "--size", "320x320", "--score", 0.8)
    answer = vultus("detect", photo, tmp_path / "bad.jpg", *given, "--json", code=1)
    first, second, bad, last = map(json.loads, answer.out.splitlines())
    for line, name in ((first, "yunet_2023mar"), (second, "mtcnn")):
        assert set(line) == {"source", "position", "width", "height", "detector", "milliseconds", "faces"}
        assert (line["source"], line["detector"], line["position"]) == (str(photo), name, None)
        (face,) = line["faces"]
        assert set(face) == {"box", "score", "landmarks"}
        assert np.shape(face["landmarks"]) == (5, 2)
        assert face["score"] >= 0.8
    eyes = np.linalg.norm(np.subtract(*first["faces"][0]["landmarks"][:2]))
    apart = np.abs(np.subtract(first["faces"][0]["landmarks"], second["faces"][0]["landmarks"]))
    assert apart.mean() < 0.15 * eyes
    assert bad["source"] == str(tmp_path / "bad.jpg")
    assert "error" in bad
    assert [row["faces"] for row in last["summary"]] == [1, 1]
    assert [row["pictures"] for row in last["summary"]] == [1, 1]


def test_a_folder_with_a_video(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    walk = Walk(portrait(samples[0] / "person_b_2.jpg", 200), (10, 20), (100, 20))
    write_video(folder / "clip.mp4", frames([walk], 12))
    for place in (folder, folder / "deeper"):
        shutil.copy(samples[0] / "person_a_2.jpg", place / "a.jpg")
    answer = vultus("detect", folder, "--every", 4, "--out", tmp_path / "out")
    assert "clip.mp4: up to 1 face at a time in 3 frames" in answer.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.jpg", "a.jpg", "clip.mp4"]
    moments = list(video.read(str(tmp_path / "out" / "clip.mp4"), Decode(video_step=1), lambda: None))
    assert len(moments) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.jpg",), "refused: {cwd}/nothing.jpg: cannot be read"),
        (("{photo}", "--size", "8x8"), "`detect.input_size`"),
        (("{photo}", "--size", "32x48"), "outside 64..8192"),
        (("{photo}", "--detector", "mtcn"), "did you mean mtcnn?"),
        (("{photo}", "--detector", "sface_2021dec"), "is of the kind embedder, not detector"),
        (("{photo}", "--out", "x.mp4"), "does not end like a picture"),
        (("{photo}", "--detector", "mtcnn", "--detector", "yunet_2023mar", "--out", "x.jpg"), "name one"),
        (("webcam:0",), "a camera is for `vultus watch`"),
    ],
)
def test_what_is_wrong_is_told(
    arguments: tuple[str, ...], words: str, vultus: Run, mtcnn_registry: Registry, samples: tuple[Path, Any]
) -> None:
    photo = samples[0] / "person_a_2.jpg"
    answer = vultus("detect", *(argument.format(photo=photo) for argument in arguments), code=2)
    assert words.removeprefix("refused: {cwd}/") in answer.err

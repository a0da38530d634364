"""The examples of docs/stages.md do what they say."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from media import Walk, frames, portrait, write_video

from vultus.index import Gallery
from vultus.stages.finder import FaceFinder
from vultus.weights import Registry

DOC = Path(__file__).parents[2] / "docs" / "stages.md"


def test_examples(
    mtcnn_registry: Registry,
    samples: tuple[Path, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(samples[0] / "person_b_1.jpg", "photo.jpg")
    walk = Walk(portrait(samples[0] / "person_b_2.jpg", 260), (10, 40), (300, 60))
    write_video(Path("clip.mp4"), frames([walk], 30))
    with FaceFinder() as finder, Gallery.open("people", model=finder.model.fingerprint) as gallery:
        gallery.enrol("Jacinda", [finder.find("photo.jpg")[0].vector])

    one, two, three = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    exec(compile(one, str(DOC), "exec"), {})
    first = capsys.readouterr().out
    assert "(128,)" in first
    assert "sface_2021dec says two faces are one person from a cosine of 0.363" in first

    exec(compile(two, str(DOC), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("Sighting(")
    assert "name='Jacinda'" in lines[0]
    assert lines[1].startswith("ItemDone(")
    assert "status='done'" in lines[1]

    exec(compile(three, str(DOC), "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 1

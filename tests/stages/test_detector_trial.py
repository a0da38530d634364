"""A detector that misses faces, or whose landmarks lie elsewhere, is refused with the photograph's name."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from vultus.configs.schema import Config
from vultus.pipeline.messages import Face
from vultus.stages.detector import Detector, open_detector
from vultus.stages.detector_trial import detector_trial
from vultus.stages.view import View


class Changed:
    """The default detector with its faces changed."""

    def __init__(self, usual: Detector, kind: str) -> None:
        self.usual, self.kind = usual, kind

    def find(self, view: View) -> list[Face]:
        faces = self.usual.find(view)
        if self.kind == "misses":
            return faces[1:]
        if self.kind == "too many":
            return faces * 3
        return [
            msgspec.structs.replace(face, landmarks=(face.landmarks[1], face.landmarks[0], *face.landmarks[2:]))
            for face in faces
        ]


@pytest.mark.parametrize("kind", ["misses", "too many", "mirrored"])
def test_what_is_refused(kind: str, registry: object, data_home: Path, samples: tuple[Path, Any]) -> None:
    usual = open_detector(Config(), data_home)
    assert detector_trial(usual, usual, data_home, samples[0])[1] is None
    wrong = detector_trial(Changed(usual, kind), usual, data_home, samples[0])[1]
    assert wrong is not None
    assert "person_a_1.jpg" in wrong

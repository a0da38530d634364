"""`vultus calibrate` and `vultus people deny | denials | confusable`: what is kept, shown and refused."""

from pathlib import Path

import numpy as np
import pytest
from cli_process import Run

from vultus.index import Gallery


@pytest.fixture
def crowd(tmp_path: Path, rand: np.random.Generator) -> Path:
    rows = np.repeat(rand.standard_normal((120, 64)), 3, axis=0) + 0.3 * rand.standard_normal((360, 64))
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.enrol_many([f"p{at // 3}" for at in range(360)], rows)
        gallery.enrol("p7 again", rows[21:23] + 0.1)
    return tmp_path / "g"


def test_a_calibration_is_shown_kept_and_forgotten(vultus: Run, crowd: Path, tmp_path: Path) -> None:
    told = vultus("calibrate", "--fpir", "0.01", "--out", tmp_path / "page.html", "--gallery", crowd)
    assert "Threshold 0." in told.out
    assert "◄ threshold" in told.out
    assert "p7 (face" in told.err
    page = (tmp_path / "page.html").read_text()
    assert "<svg" in page
    assert "http" not in page
    with Gallery.open(crowd) as gallery:
        kept = gallery.calibration.current()
    assert kept is not None
    assert kept.policy.fpir == 0.01
    again = vultus("calibrate", "--dry-run", "--json", "--gallery", crowd).json
    assert again["threshold"] == kept.threshold
    assert again["policy"]["fpir"] == 0.01
    assert "still fits" in vultus("calibrate", "--if-stale", "--gallery", crowd).err
    vultus("calibrate", "--forget", "--gallery", crowd)
    with Gallery.open(crowd) as gallery:
        assert gallery.calibration.current() is None
    assert "say either the rate" in vultus("calibrate", "--faces-per-day", "5", "--gallery", crowd, code=2).err


def test_who_is_mixed_up_and_who_is_not(vultus: Run, crowd: Path) -> None:
    pairs = vultus("people", "confusable", "--threshold", "0.7", "--gallery", crowd, "--json").json
    assert [(one["name"], one["other_name"], one["reading"]) for one in pairs] == [
        ("p7", "p7 again", "the same person twice?")
    ]
    vultus("people", "deny", "p7", "--person", "p7 again", "--gallery", crowd)
    assert vultus("people", "confusable", "--threshold", "0.7", "--gallery", crowd, "--json").json == []
    assert "p7 again" in vultus("people", "denials", "--gallery", crowd).out
    vultus("people", "deny", "p7 again", "--person", "p7", "--take-back", "--gallery", crowd)
    assert vultus("people", "denials", "p7", "--gallery", crowd, "--json").json == []
    assert "one of the faces" in vultus("people", "deny", "p7", "--face", "22", "--gallery", crowd, code=2).err
    assert "say either" in vultus("people", "deny", "p7", "--gallery", crowd, code=2).err

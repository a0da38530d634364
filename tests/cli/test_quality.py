"""`vultus quality` ranks faces and says what they lack; `people enrol` refuses what is hardly recognisable."""

from pathlib import Path
from typing import Any

import cv2
from cli_process import Run


def test_faces_are_ranked_with_reasons_and_pictures(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    sharp = cv2.imread(str(samples[0] / "person_b_1.jpg"))
    cv2.imwrite(str(tmp_path / "<sharp>.jpg"), sharp)
    cv2.imwrite(str(tmp_path / "blurred.jpg"), cv2.GaussianBlur(sharp, (0, 0), 12))
    page = tmp_path / "page.html"
    told = vultus("quality", tmp_path / "blurred.jpg", tmp_path / "<sharp>.jpg", "--html", page, "--json").json
    assert told["source"] == "stand-in"
    assert [(Path(one["image"]).name, one["lacks"]) for one in told["faces"]] == [
        ("<sharp>.jpg", None),
        ("blurred.jpg", "blurred"),
    ]
    assert told["faces"][0]["quality"] > 1.5 * told["faces"][1]["quality"]
    text = page.read_text()
    assert text.count("<img") == 2
    assert "&lt;sharp&gt;.jpg" in text
    assert "it is blurred" in text


def test_a_face_that_is_hardly_recognisable_is_not_enrolled(
    vultus: Run, samples: tuple[Path, Any], tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"gallery: {tmp_path / 'g'}\nstore: {{enrol_quality: 0.95}}\n")
    refused = vultus("people", "enrol", "Ada", samples[0] / "person_a_1.jpg", "--config", config, code=2).err
    assert "below store.enrol_quality: it is small" in refused

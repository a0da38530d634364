"""`vultus unknowns` and what `vultus people` does to faces, on a gallery of made-up vectors."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_process import Run
from PIL import Image

from vultus.index import FaceRecord, Gallery, Sighting


def jpeg(grey: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((112, 112, 3), grey, np.uint8))[1])


@pytest.fixture
def folder(tmp_path: Path, registry: object) -> Path:
    """Ada (1) with the faces 1 and 2, and the unknown people 2 with the faces 3 to 5, 3 with 6 to 7, without pictures."""
    axes = np.eye(8)
    chips = [jpeg(64), jpeg(64), jpeg(128), jpeg(200), b"no picture", None, None]
    records = [
        FaceRecord(source=f"/photos/{at + 1}.jpg", time=86400.0 * at, quality=0.5, chip=chip)
        for at, chip in enumerate(chips)
    ]
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.enrol("Ada", axes[[0, 0]], records[:2])
        gallery.add_faces(axes[[1, 1, 1, 2, 2]], records[2:])
        gallery.unknowns.gather(0.36)
        gallery.add_sighting(Sighting(run="r", source="door", track=1, time=9e6, identity=2))
    return tmp_path / "g"


def test_list_and_show(vultus: Run, folder: Path, tmp_path: Path) -> None:
    first, second = vultus("unknowns", "list", "--gallery", folder, "--json").json
    assert (first["identity"], first["faces"], first["sightings"]) == (2, 3, 1)
    assert (first["first"], first["last"]) == ("1970-01-03T00:00:00.000Z", "1970-04-15T04:00:00.000Z")
    assert first["sources"] == ["/photos/3.jpg", "/photos/4.jpg", "/photos/5.jpg"]
    assert (second["identity"], second["faces"], second["hidden"]) == (3, 2, False)
    sheet = tmp_path / "sheet.png"
    answer = vultus("unknowns", "list", "--least", 3, "--gallery", folder, "--out", sheet)
    assert "/photos/3.jpg" in answer.out
    assert "/photos/6.jpg" not in answer.out
    with Image.open(sheet) as picture:
        assert picture.size == (128, 162)
        assert abs(picture.getpixel((64, 64))[0] - 128) < 4, "the best face"
    shown = vultus("unknowns", "show", 2, "--gallery", folder, "--json", "--out", sheet).json
    assert [face["face_id"] for face in shown["seen"]] == [3, 4, 5]
    with Image.open(sheet) as picture:
        assert picture.width == 3 * 128
        assert picture.getpixel((2 * 128 + 64, 64)) == (224, 224, 224), "what is no picture is left grey"
    answer = vultus("unknowns", "show", 1, "--gallery", folder, code=2)
    assert answer.err == "vultus: person 1 is not unknown, but 'Ada'\n"
    assert "does not end like a picture" in vultus("unknowns", "list", "--out", tmp_path / "x.txt", code=2).err


def test_name_merge_ignore(vultus: Run, folder: Path) -> None:
    assert "unknown 2, 3 faces, is Bob now" in vultus("unknowns", "name", 2, "Bob", "--gallery", folder).err
    people = vultus("people", "list", "--gallery", folder, "--json").json
    assert [(one["name"], one["faces"]) for one in people] == [("Ada", 2), ("Bob", 3)]
    answer = vultus("unknowns", "name", 3, "Ada", "--gallery", folder)
    assert "Ada (id 1) was there already and has 2 more faces, 4 in all" in answer.err
    assert vultus("unknowns", "list", "--gallery", folder, "--json").json == []
    kinds = [act["kind"] for act in vultus("people", "undo", "--count", 2, "--gallery", folder, "--json").json]
    assert kinds == ["merge", "name"]
    back, other = (one["identity"] for one in vultus("unknowns", "list", "--gallery", folder, "--json").json)
    assert (back, other) == (2, 4)
    assert "unknown 2 has 5 faces now" in vultus("unknowns", "merge", 2, other, "--gallery", folder).err
    vultus("unknowns", "ignore", 2, "--gallery", folder)
    assert vultus("unknowns", "list", "--gallery", folder, "--json").json == []
    assert vultus("unknowns", "list", "--hidden", "--gallery", folder, "--json").json[0]["hidden"] is True
    vultus("people", "unhide", 2, "--gallery", folder)
    assert len(vultus("unknowns", "list", "--gallery", folder, "--json").json) == 1


def test_people_merge_split_move_hide_undo(vultus: Run, folder: Path) -> None:
    def named() -> dict[str, int]:
        return {one["name"]: one["faces"] for one in vultus("people", "list", "--gallery", folder, "--json").json}

    vultus("people", "merge", "Ada", 2, 3, "--gallery", folder)
    assert named() == {"Ada": 7}
    assert (
        "2 faces of Ada (id 1) became Eve (id 4)"
        in vultus("people", "split", "Ada", 6, 7, "--name", "Eve", "--gallery", folder).err
    )
    vultus("people", "move", 3, "--to", "Eve", "--gallery", folder)
    vultus("people", "move", 4, "--to-nobody", "--gallery", folder)
    assert named() == {"Ada": 3, "Eve": 3}
    vultus("people", "hide", "Eve", "--gallery", folder)
    assert named() == {"Ada": 3}
    assert [one["name"] for one in vultus("people", "list", "--hidden", "--gallery", folder, "--json").json] == ["Eve"]
    acts = vultus("people", "acts", "--gallery", folder, "--json").json
    assert [act["kind"] for act in acts] == ["hide", "move", "move", "split", "merge", "merge"]
    assert "3 faces into Ada (1)" in vultus("people", "acts", "--gallery", folder).out
    answer = vultus("people", "undo", "--count", 6, "--gallery", folder)
    assert answer.err.count("undone: ") == 6
    assert named() == {"Ada": 2}
    assert vultus("people", "undo", "--gallery", folder, code=2).err.startswith("vultus: there is no act")
    for wrong in (("split", "Ada", 6), ("move", 1), ("merge", "Ada", "Ada"), ("move", 99, "--to", "Ada")):
        answer = vultus("people", *wrong, "--gallery", folder, code=2)
        assert answer.err.strip()


def test_gathering_is_the_end_of_indexing(vultus: Run, gallery: Path) -> None:
    people = vultus("unknowns", "list", "--gallery", gallery, "--json").json
    assert [one["faces"] for one in people] == [1] * 6
    assert {Path(one["sources"][0]).name for one in people} == {"t1.jpg"}
    assert vultus("unknowns", "gather", "--gallery", gallery, "--json").json["faces"] == 0

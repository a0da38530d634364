"""`vultus query` and `vultus people`: the names and shapes that scripts rely on, and the right people."""

from pathlib import Path
from typing import Any

import pytest
from cli_process import Run
from PIL import Image

from vultus.weights import Registry

FACE_KEYS = {"box", "landmarks", "score", "quality", "matches"}
MATCH_KEYS = {"identity", "name", "similarity", "source", "face_id"}


def test_the_printed_object(vultus: Run, samples: tuple[Path, Any], gallery: Path, registry: Registry) -> None:
    image = samples[0] / "person_a_2.jpg"
    answer = vultus("query", image, "-k", 3, "--gallery", gallery, "--json").json
    assert set(answer) == {"image", "model", "faces"}
    assert answer["image"] == str(image)
    assert answer["model"] == "sface_2021dec"
    (face,) = answer["faces"]
    assert set(face) == FACE_KEYS
    assert len(face["box"]) == 4
    assert [len(point) for point in face["landmarks"]] == [2] * 5
    assert 0 < face["score"] <= 1
    assert 0 < face["quality"] <= 1
    assert len(face["matches"]) == 3
    assert all(set(match) == MATCH_KEYS for match in face["matches"])
    similarities = [match["similarity"] for match in face["matches"]]
    assert similarities == sorted(similarities, reverse=True)
    threshold = registry.resolve("sface_2021dec").threshold
    assert face["matches"][0]["name"] == "Emmanuel Macron"
    assert threshold is not None
    assert similarities[0] > threshold > similarities[1]


def test_unlabelled_faces_answer_for_themselves(vultus: Run, samples: tuple[Path, Any], gallery: Path) -> None:
    faces = vultus("query", samples[0] / "t1.jpg", "-k", 2, "--gallery", gallery, "--json").json["faces"]
    assert len(faces) == 6
    for face in faces:
        best = face["matches"][0]
        assert best["similarity"] == pytest.approx(1, abs=1e-3)
        assert best["identity"] is None
        assert best["name"] is None
        assert best["source"].endswith("t1.jpg")


def test_text_and_an_annotated_picture(vultus: Run, samples: tuple[Path, Any], gallery: Path, tmp_path: Path) -> None:
    answer = vultus("query", samples[0] / "person_b_2.jpg", "--gallery", gallery, "--out", tmp_path / "seen.png")
    assert "Jacinda Ardern" in answer.out
    with Image.open(tmp_path / "seen.png") as seen, Image.open(samples[0] / "person_b_2.jpg") as before:
        assert seen.size == before.size
        assert seen.tobytes() != before.convert("RGB").tobytes()


def test_enrol_show_rename_delete(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    folder, gallery = samples[0], tmp_path / "g"
    enrolled = vultus(
        "people", "enrol", "Zoë", folder / "person_a_1.jpg", folder / "person_a_2.jpg", "--gallery", gallery, "--json"
    ).json
    assert len(enrolled["enrolled"]) == 2
    partly = vultus(
        "people", "enrol", "Group", folder / "t1.jpg", folder / "impostor_1.jpg", "--gallery", gallery, code=1
    )
    assert "t1.jpg" in partly.err
    assert "6 faces" in partly.err
    vultus("people", "rename", "Zoë", "Zoe", "--gallery", gallery)
    shown = vultus("people", "show", "Zoe", "--gallery", gallery, "--json").json
    assert shown["identity"] == enrolled["identity"]
    assert len(shown["faces"]) == 2
    vultus("people", "delete", "Zoe", "--yes", "--gallery", gallery)
    assert [one["name"] for one in vultus("people", "list", "--gallery", gallery, "--json").json] == ["Group"]
    matches = vultus("query", folder / "person_a_2.jpg", "--gallery", gallery, "--json").json["faces"][0]["matches"]
    assert [match["name"] for match in matches] == ["Group"]
    assert "nobody named" in vultus("people", "show", "Zoe", "--gallery", gallery, code=2).err.lower()


def test_errors_are_one_line(vultus: Run, samples: tuple[Path, Any], gallery: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    for arguments in (
        ("query", text, "--gallery", gallery),
        ("query", tmp_path / "missing.jpg", "--gallery", gallery),
        ("query", samples[0] / "t1.jpg", "--gallery", tmp_path / "nowhere"),
    ):
        answer = vultus(*arguments, code=2)
        assert len(answer.err.strip().splitlines()) == 1, answer.err
        assert str(arguments[1]) in answer.err or str(arguments[3]) in answer.err
        assert not answer.out
    assert not (tmp_path / "nowhere").exists()


def test_every_command_teaches(vultus: Run) -> None:
    assert "Three jobs" in vultus("--help").out
    for command in ("index", "watch", "query", "people", "gallery", "models", "doctor", "demo"):
        assert len(vultus(command, "--help").out.splitlines()) > 6, command
    assert "No such command" in vultus("qwery", code=2).err

"""`vultus query` and `vultus people`: the names and shapes that scripts rely on, and the right people."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import COMMAND, Run
from PIL import Image

from vultus.index import Gallery
from vultus.weights import Registry

FACE_KEYS = {"box", "landmarks", "score", "quality", "matches"}
MATCH_KEYS = {"identity", "name", "similarity", "source", "face_id", "margin", "probability", "faces"}


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


@pytest.mark.slow
def test_filters_by_collection_and_time(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    gallery, photos = tmp_path / "g", tmp_path / "photos"
    photos.mkdir()
    for name in ("person_a_1.jpg", "impostor_1.jpg"):
        (photos / name).write_bytes((samples[0] / name).read_bytes())
    vultus("index", photos, "--collection", "press", "--gallery", gallery)
    vultus("people", "enrol", "Emmanuel", samples[0] / "person_a_2.jpg", "--gallery", gallery)

    def asked(*options: str) -> list[str]:
        answer = vultus("query", samples[0] / "person_a_1.jpg", "--faces", 5, "--gallery", gallery, "--json", *options)
        return sorted(Path(match["source"]).name for match in answer.json["faces"][0]["matches"])

    assert asked("--collection", "press") == ["impostor_1.jpg", "person_a_1.jpg"]
    assert asked("--collection", "other") == []
    assert "person_a_2.jpg" in asked()
    assert asked("--after", "1990-02-03T04:05") == ["impostor_1.jpg", "person_a_1.jpg"], "who was enrolled has no time"
    assert asked("--before", "1990-02-03") == []
    said = vultus("query", samples[0] / "person_a_1.jpg", "--before", "yesterday", "--gallery", gallery, code=2).err
    assert "'yesterday' does not match the formats" in said


def test_unknown_people_answer_by_their_number(vultus: Run, samples: tuple[Path, Any], gallery: Path) -> None:
    faces = vultus("query", samples[0] / "t1.jpg", "-k", 2, "--gallery", gallery, "--json").json["faces"]
    assert len(faces) == 6
    for face in faces:
        best = face["matches"][0]
        assert best["similarity"] == pytest.approx(1, abs=1e-3)
        assert best["identity"] is not None
        assert best["name"] is None
        assert best["source"].endswith("t1.jpg")


def test_text_and_an_annotated_picture(vultus: Run, samples: tuple[Path, Any], gallery: Path, tmp_path: Path) -> None:
    answer = vultus("query", samples[0] / "person_b_2.jpg", "--gallery", gallery, "--out", tmp_path / "seen.png")
    assert "Jacinda Ardern" in answer.out
    with Image.open(tmp_path / "seen.png") as seen, Image.open(samples[0] / "person_b_2.jpg") as before:
        assert seen.size == before.size
        assert seen.tobytes() != before.convert("RGB").tobytes()


@pytest.mark.slow
def test_several_photos_are_one_table_and_an_object_each(
    vultus: Run, samples: tuple[Path, Any], gallery: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for name, place in (("person_a_2.jpg", folder), ("t1.jpg", folder / "inner")):
        (place / name).write_bytes((samples[0] / name).read_bytes())
    (folder / "broken.jpg").write_text("no picture")
    (folder / "film.mp4").write_text("no photo")
    alone = samples[0] / "person_b_2.jpg"
    given = (alone, folder, alone, "-k", 2, "--gallery", gallery)
    answer = vultus("query", *given, "--json", code=1)
    objects = [json.loads(one) for one in answer.out.splitlines()]
    assert [Path(one["image"]).name for one in objects] == [
        "person_b_2.jpg",
        "broken.jpg",
        "person_a_2.jpg",
        "t1.jpg",
    ]
    assert [len(one.get("faces", ())) for one in objects] == [1, 0, 1, 6]
    assert "broken.jpg" in answer.err
    assert objects[1]["error"] in answer.err
    one_by_one = [vultus("query", one["image"], *given[3:], "--json").json for one in (objects[0], objects[3])]
    assert [one["faces"] for one in one_by_one] == [objects[0]["faces"], objects[3]["faces"]]
    lines = vultus("query", *given, code=1).out.splitlines()
    assert len(lines) == 1 + 1 + 1 + 1 + 6
    assert "Emmanuel Macron" in next(line for line in lines if "person_a_2.jpg" in line)
    assert "not read" in lines[2]
    for wrong, reason in (((folder, "--out", tmp_path / "x.png"), "a single photo"), ((tmp_path / "g",), "g")):
        assert reason in vultus("query", *wrong, "--gallery", gallery, code=2).err


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


@pytest.mark.slow
def test_a_person_is_meant_by_name_or_number_and_a_name_goes_first(
    vultus: Run, samples: tuple[Path, Any], tmp_path: Path
) -> None:
    photo, gallery = samples[0] / "impostor_1.jpg", tmp_path / "g"
    for name in ("2", "Bo [red]:x:"):
        vultus("people", "enrol", name, photo, "--gallery", gallery)
    assert vultus("people", "show", "1", "--gallery", gallery, "--json").json["name"] == "2"
    assert vultus("people", "show", "2", "--gallery", gallery, "--json").json["identity"] == 1
    assert "Bo [red]:x:" in vultus("people", "list", "--gallery", gallery).out
    vultus("people", "rename", "1", "Ada", "--gallery", gallery)
    assert "Bo [red]:x:" in vultus("people", "delete", "2", "--yes", "--gallery", gallery).err
    assert [one["name"] for one in vultus("people", "list", "--gallery", gallery, "--json").json] == ["Ada"]
    for nobody in ("3", "9" * 30, ""):
        assert "vultus: " in vultus("people", "show", nobody, "--gallery", gallery, code=2).err


def test_enrolling_the_same_photo_again_adds_nothing(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    photo, gallery = samples[0] / "impostor_1.jpg", tmp_path / "g"
    roundabout = samples[0] / ".." / samples[0].name / photo.name
    for _ in range(2):
        answer = vultus("people", "enrol", "Ada", photo, roundabout, "--gallery", gallery, "--json").json
        assert answer["enrolled"] == [str(photo)]
    assert len(vultus("people", "show", "Ada", "--gallery", gallery, "--json").json["faces"]) == 1


@pytest.mark.parametrize("name", [" ", "\x1b[31m", "x" * 3000])
def test_what_is_no_name_is_wrong_usage(vultus: Run, samples: tuple[Path, Any], tmp_path: Path, name: str) -> None:
    answer = vultus("people", "enrol", name, samples[0] / "impostor_1.jpg", "--gallery", tmp_path / "g", code=2)
    assert "NAME" in answer.err
    assert "\x1b" not in answer.err
    assert not (tmp_path / "g").exists()


@pytest.mark.slow
def test_names_of_files_cannot_break_the_output(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    odd = tmp_path / "photos" / "a\nb [bold]\x1b[31m:x:.jpg"
    odd.parent.mkdir()
    odd.write_bytes((samples[0] / "impostor_1.jpg").read_bytes())
    (odd.parent / "c\nd.jpg").write_text("no picture")
    indexed = vultus("index", odd.parent, "--gallery", tmp_path / "g", code=1)
    assert r"c\nd.jpg: " in indexed.err
    asked = vultus("query", odd, "--gallery", tmp_path / "g")
    assert r"a\nb [bold]\x1b[31m:x:.jpg" in asked.out
    assert len(asked.out.splitlines()) == 3
    assert vultus("query", odd, "--gallery", tmp_path / "g", "--json").json["faces"][0]["matches"][0]["source"] == str(
        odd
    )
    no_utf8 = os.fsencode(tmp_path) + b"/\xff.jpg"
    with open(no_utf8, "wb") as file:
        file.write(odd.read_bytes())
    assert "not UTF-8" in vultus("people", "enrol", "A", os.fsdecode(no_utf8), "--gallery", tmp_path / "g", code=2).err
    assert len(vultus("query", os.fsdecode(no_utf8), "--gallery", tmp_path / "g", "--json").json["faces"]) == 1


@pytest.mark.slow
def test_a_named_face_says_who_it_is_though_an_unnamed_one_is_nearer(
    vultus: Run, samples: tuple[Path, Any], tmp_path: Path
) -> None:
    vultus("people", "enrol", "Ada", samples[0] / "person_a_1.jpg", "--gallery", tmp_path / "g")
    vultus("index", samples[0] / "person_a_2.jpg", "--gallery", tmp_path / "g")
    lines = vultus("query", samples[0] / "person_a_2.jpg", "--gallery", tmp_path / "g").out.splitlines()
    assert lines[0].endswith(": Ada")
    assert "(no name)" in lines[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "code"),
    [("{} | head -c 10", 0), ("{} >&-", 0), ("{} >&- 2>&- <&-", 0), ("{} > /dev/full", 2)],
)
def test_readers_that_go_away_and_outputs_that_take_nothing(vultus: Run, gallery: Path, shell: str, code: int) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for command in ("people list", "people list --json"):
        job = shlex.join([*COMMAND, *command.split(), "--gallery", str(gallery)])
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", shell.format(job)],
            capture_output=True,
            text=True,
            timeout=60,
            env=buffered,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr


def test_a_picture_that_cannot_be_written_is_wrong_usage(
    vultus: Run, samples: tuple[Path, Any], gallery: Path, tmp_path: Path
) -> None:
    for name, word in (("seen.xyz", "picture"), ("nowhere/seen.jpg", "folder")):
        arguments = ("query", samples[0] / "t1.jpg", "--gallery", gallery, "--out", tmp_path / name)
        assert word in vultus(*arguments, code=2).err


@pytest.mark.slow
def test_another_character_set_is_no_reason_to_fail(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    vultus("people", "enrol", "Zoë", samples[0] / "impostor_1.jpg", "--gallery", tmp_path / "g")
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*COMMAND, "people", "list", "--gallery", str(tmp_path / "g")]
    for options, wanted in (([], rb"Zo\xeb"), (["--json"], "Zoë".encode())):
        done = subprocess.run([*command, *options], capture_output=True, timeout=60, env=plain)
        assert done.returncode == 0, done.stderr
        assert wanted in done.stdout


@pytest.mark.slow
def test_hidden_people_are_unrecognisable_in_pictures(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    shown = samples[0] / "person_a_2.jpg"
    vultus("people", "enrol", "Anna", samples[0] / "person_a_1.jpg", "--gallery", tmp_path / "g")
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.hide("Anna")
    vultus("query", shown, "--gallery", tmp_path / "g", "--out", tmp_path / "seen.png")
    assert vultus("query", tmp_path / "seen.png", "--gallery", tmp_path / "g", "--json").json["faces"] == []
    with Image.open(tmp_path / "seen.png") as after, Image.open(shown) as before:
        assert after.size == before.size
        apart = np.abs(np.asarray(after.convert("RGB"), int) - np.asarray(before.convert("RGB"), int)).max(axis=2) > 40
    assert 0.02 < apart.mean() < 0.8, "the face, and not all of the picture"

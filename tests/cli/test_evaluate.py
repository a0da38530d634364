"""`vultus evaluate` on a few photographs: what is told, reported and kept."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from vultus.cli.evaluate import evaluate
from vultus.stages.detect import Detect
from vultus.stages.finder import FaceFinder
from vultus.weights import Registry, Sample

Evaluate = Callable[..., Result]
LIST = """2 2
Ann 1 2
Bob 1 2
Ann 1 Cid 1
Bob 1 Dan 1
Ann 1 2
Bob 1 2
Ann 2 Dan 1
Bob 2 nobody 1
"""
PEOPLE = {
    "Ann": ("person_a_1.jpg", "person_a_2.jpg"),
    "Bob": ("person_b_1.jpg", "person_b_2.jpg"),
    "Cid": ("impostor_1.jpg",),
    "Dan": ("impostor_2.jpg",),
}


@pytest.fixture(scope="module")
def people(samples: tuple[Path, tuple[Sample, ...]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs as LFW names them, one without a face, and a list of pairs."""
    folder, _ = samples
    root = tmp_path_factory.mktemp("people")
    for name, files in PEOPLE.items():
        (root / name).mkdir()
        for number, file in enumerate(files, start=1):
            (root / name / f"{name}_{number:04d}.jpg").write_bytes((folder / file).read_bytes())
    (root / "nobody").mkdir()
    (root / "nobody" / "nobody_0001.png").write_bytes(_blank())
    (root / "pairs.txt").write_text(LIST)
    return root


def _blank() -> bytes:
    return cv2.imencode(".png", np.full((120, 120, 3), 200, np.uint8))[1].tobytes()


@pytest.fixture
def run(registry: Registry, tmp_path: Path) -> Evaluate:
    """Runs `vultus evaluate ARGUMENTS` in this process, with a work file of the test's own."""

    def call(*arguments: object, code: int = 0) -> Result:
        answer = CliRunner().invoke(evaluate, [*map(str, arguments), "--work", str(tmp_path / "work")])
        assert answer.exit_code == code, answer.output
        return answer

    return call


def told(answer: Result) -> Any:
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.slow
def test_pairs_of_photographs(run: Evaluate, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("verification", people / "pairs.txt", "--images", people)
    first = told(run(*arguments, "--json"))
    assert first["accuracy"]["mean"] == 1.0
    assert first["rates"]["genuine"] == 4
    assert first["rates"]["not_measured"] == [0.01, 0.001, 0.0001]
    assert (first["pictures"], first["no_face"]) == (7, 1)
    assert first["in_use"]["tar"] == 1.0
    assert first["landmarks"] == "onet"

    def never(*_: object) -> None:
        raise AssertionError("everything is in the work file")

    monkeypatch.setattr(Detect, "open", never)
    monkeypatch.setattr("vultus.cli.evaluate_faces.open_embedder", never)
    page = tmp_path / "page.html"
    second = run(*arguments, "--everyone", "--out", page)
    assert "100.00% ± 0.00%" in second.stdout
    assert "yunet_2023mar with O-Net's landmarks, and sface_2021dec" in second.stdout
    assert "everyone with everyone" in second.stdout
    text = page.read_text()
    assert text.count("data:image/jpeg") == 15  # of eight pairs; one picture shows no face
    assert text.count("<svg") == 2
    assert "http" not in text
    assert not list(tmp_path.glob(".*"))


def test_a_set_of_aligned_pictures(run: Evaluate, people: Path, tmp_path: Path) -> None:
    photos = [cv2.imread(str(path)) for path in sorted(people.glob("[AB]*/*.jpg"))]
    pictures = [cv2.imencode(".png", cv2.resize(photo, (112, 112)))[1].tobytes() for photo in photos]
    (tmp_path / "set.bin").write_bytes(pickle.dumps(([*pictures, pictures[0], b"no picture"], [True, True, False])))
    report = told(run("verification", tmp_path / "set.bin", "--mirrored", "--json"))
    assert report["detector"] is None
    assert report["landmarks"] is None
    assert report["rates"]["tar"] == []
    assert "picture 6" in report["refused"]
    (tmp_path / "same.bin").write_bytes(pickle.dumps((pictures, [True, True])))
    assert "All pairs are of one kind" in run("verification", tmp_path / "same.bin").stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("pairs.txt",), "--images DIR says"),
        (("set.bin", "--images", "."), "--images goes with a pairs.txt"),
        (("empty.bin", "--everyone"), "does not say it"),
        (("pairs.txt", "--images", ".", "--detector", "yunnet"), "did you mean yunet"),
    ],
)
def test_what_cannot_be_is_said(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Ann").mkdir()
    for number in (1, 2):
        (tmp_path / "Ann" / f"Ann_{number:04d}.jpg").touch()
    (tmp_path / "pairs.txt").write_text("1\nAnn 1 2\nAnn 1 2\n")
    for name in ("set.bin", "empty.bin"):
        (tmp_path / name).write_bytes(pickle.dumps(([b"a", b"b"], [True])))
    answer = CliRunner().invoke(evaluate, ["verification", *arguments, "--work", "work"])
    assert answer.exit_code
    assert complaint in answer.output + str(answer.exception)


def test_people_out_of_a_gallery(run: Evaluate, people: Path, tmp_path: Path) -> None:
    gallery, probes = tmp_path / "gallery.txt", tmp_path / "probes.txt"
    gallery.write_text(f"Ann\t{people}/Ann/Ann_0001.jpg\nBob\t{people}/Bob/Bob_0001.jpg\n")
    names = (("Ann", "Ann", 2), ("Bob", "Bob", 2), ("Cid", "Cid", 1), ("Dan", "Dan", 1))
    probes.write_text("".join(f"{name}\t{people}/{folder}/{folder}_{at:04d}.jpg\n" for name, folder, at in names))
    page = tmp_path / "page.html"
    found = told(run("identification", "--gallery", gallery, "--probes", probes, "--out", page, "--json"))["result"]
    assert (found["people"], found["mated"], found["non_mated"]) == (2, 2, 2)
    assert found["cmc"][0] == [1, 1.0]
    assert found["not_measured"] == [0.1, 0.01, 0.001]
    assert "<svg" in page.read_text()
    assert "not to be told from 2 strangers" in run("identification", "--gallery", gallery, "--probes", probes).stdout
    answer = run("identification", "--gallery", people, "--probes", probes, code=2)
    assert "would be searched for" in answer.output


def test_measures_of_quality(run: Evaluate, people: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    answer = run("quality", people, "--refused", "0.5", "--out", page)
    assert "2 pairs of one person" in answer.stdout
    assert "sharpness" in answer.stdout
    assert "<svg" in page.read_text()


def test_a_detector_on_ground_truth_that_is_made_of_its_own_boxes(
    run: Evaluate, samples: tuple[Path, tuple[Sample, ...]], tmp_path: Path
) -> None:
    savemat = pytest.importorskip("scipy.io", reason="needs vultus[widerface]").savemat
    folder = tmp_path / "wider"
    (folder / "images" / "0--Group").mkdir(parents=True)
    (folder / "images" / "0--Group" / "t1.jpg").write_bytes((samples[0] / "t1.jpg").read_bytes())
    with FaceFinder() as finder:
        boxes = np.array([face.box for face in finder.find(samples[0] / "t1.jpg")])
    names = {
        "event_list": cells(["0--Group"]),
        "file_list": cells([cells(["t1"])]),
        "face_bbx_list": cells([cells([boxes])]),
    }
    savemat(folder / "wider_face_val.mat", names)
    for level, count in (("easy", 2), ("medium", 4), ("hard", len(boxes))):
        numbers = np.arange(1, count + 1, dtype=np.uint8).reshape(-1, 1)
        savemat(folder / f"wider_{level}_val.mat", {"gt_list": cells([cells([numbers])])})
    found = told(run("detection", "--widerface", folder, "--score", "0.7", "--json"))["average_precision"]
    assert [found[level]["faces"] for level in ("easy", "medium", "hard")] == [2, 4, len(boxes)]
    assert min(one["average"] for one in found.values()) > 0.99


def cells(values: list[Any]) -> np.ndarray:
    """A MATLAB cell array, one column."""
    made = np.empty((len(values), 1), object)
    for at, value in enumerate(values):
        made[at, 0] = value
    return made

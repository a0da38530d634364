"""A gallery of photographs moves from one real embedder to another."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cli_process import Run

from vultus.configs.schema import Config, Decode
from vultus.index import FaceRecord, FileRecord, Gallery, ModelMismatch
from vultus.stages.chip import chip_jpeg
from vultus.stages.finder import FaceFinder
from vultus.stages.reembed import plan, reembed
from vultus.weights import Embedder, Registry, open_embedder

PHOTOS = ("person_a_1", "person_a_2", "person_b_1", "person_b_2", "impostor_1", "impostor_2")


@pytest.fixture(scope="module")
def other(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """Another network than SFace, trained on other faces, with other pixels: but as many numbers."""
    path = shared / "models" / "mobilefacenet_foamliu_128.onnx"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    model = onnx.load(path)
    for key, value in (("mean", "127.5,127.5,127.5"), ("std", "128,128,128"), ("colour", "rgb")):
        model.metadata_props.add(key=f"vultus.{key}", value=value)
    file = tmp_path_factory.mktemp("model") / "foamliu.onnx"
    onnx.save(model, file)
    return open_embedder(file)


@pytest.fixture
def faces(registry: Registry, data_home: Path, samples: tuple[Path, Any], tmp_path: Path) -> dict[str, Any]:
    """The face of each portrait, found by the default models in a copy of it."""
    found = {}
    with FaceFinder(Config(), data_home) as finder:
        for name in PHOTOS:
            photo = Path(shutil.copy(samples[0] / f"{name}.jpg", tmp_path))
            found[name] = photo, finder.find(photo)[0]
        fingerprint = finder.model.fingerprint
    return {"fingerprint": fingerprint, "found": found}


def record(photo: Path, face: Any, *, chip: bool = True) -> FaceRecord:
    return FaceRecord(
        source=str(photo), box=face.box, landmarks=face.landmarks, chip=chip_jpeg(face.chip) if chip else None
    )


def test_the_same_people_by_another_model(tmp_path: Path, faces: dict[str, Any], other: Embedder) -> None:
    with Gallery.open(tmp_path / "gallery", model=faces["fingerprint"]) as gallery:
        for name, (photo, face) in faces["found"].items():
            gallery.enrol(name[:8], [face.vector], [record(photo, face)])
        before, calls = gallery.identities(), []
        assert plan(gallery).without == 0
        outcome = reembed(gallery, other, "foamliu-1", Decode(), lambda *done: calls.append(done))
        assert (outcome.done, outcome.lacking) == (6, 0)
        assert calls[0] == (0, 6)
        assert calls[-1] == (6, 6)
        assert gallery.model == "foamliu-1"
        assert gallery.identities() == before
        originals = np.stack([face.chip for _, face in faces["found"].values()])
        for number, vector in enumerate(other.embed_chips(originals), start=1):
            assert float(gallery.face(number).vector @ vector) > 0.98  # what JPEG costs
        for vector, name in zip(other.embed_chips(originals), faces["found"], strict=True):
            assert gallery.search([vector], 1)[0][0].name == name[:8]
        first, second = other.embed_chips(originals[:2])
        assert float(first @ second) > 0.4  # two photographs of one person, years apart
        with pytest.raises(ModelMismatch, match="already"):
            reembed(gallery, other, "foamliu-1", Decode(), lambda *_: None)


def test_faces_without_a_kept_picture(tmp_path: Path, faces: dict[str, Any], other: Embedder) -> None:
    with Gallery.open(tmp_path / "gallery", model=faces["fingerprint"]) as gallery:
        found = faces["found"]
        for name in ("person_a_1", "impostor_1", "impostor_2"):
            photo, face = found[name]
            gallery.enrol(name, [face.vector], [record(photo, face, chip=False)])
        photo, face = found["person_b_1"]
        file = FileRecord(source=str(photo), size=photo.stat().st_size, mtime_ns=photo.stat().st_mtime_ns)
        gallery.commit_file(file, [face.vector], [record(photo, face, chip=False)], label="person_b_1")
        photo, face = found["person_b_2"]
        gallery.commit_file(
            FileRecord(source=str(photo), size=7, mtime_ns=7), [face.vector], [record(photo, face, chip=False)]
        )
        gallery.enrol("camera", [face.vector], [FaceRecord(source="door")])
        gallery.enrol("damaged", [face.vector], [FaceRecord(source="door", chip=b"\xff\xd8 no JPEG")])
        found["impostor_1"][0].unlink()
        found["impostor_2"][0].write_bytes(b"no picture")
        assert (plan(gallery).faces, plan(gallery).without) == (7, 6)
        outcome = reembed(gallery, other, "foamliu-1", Decode(), lambda *_: None)
        assert (outcome.done, outcome.lacking) == (2, 5)
        reasons = gallery.migration.reasons()
        assert sum(reasons.values()) == 5
        for words in (
            "No such file",
            "has changed since",
            "does not come from a photograph",
            "is damaged",
            "not a picture",
        ):
            assert [reason for reason in reasons if words in reason], (words, reasons)
        for name in ("person_a_1", "person_b_1"):
            (vector,) = other.embed_chips(found[name][1].chip[None])
            match = gallery.search([vector], 1)[0][0]
            assert (match.name, round(match.similarity, 2)) == (name, 1.0)
        assert [person.name for person in gallery.identities()] == sorted(
            ["camera", "damaged", "impostor_1", "impostor_2", "person_a_1", "person_b_1"]
        )
        assert gallery.verify().ok


@pytest.mark.slow
def test_the_command(vultus: Run, tmp_path: Path, faces: dict[str, Any], data_home: Path) -> None:
    folder = tmp_path / "gallery"
    photo, face = faces["found"]["person_a_1"]
    with Gallery.open(folder, model="an-older-model") as gallery:
        gallery.enrol("Ada", np.eye(16)[:2], [record(photo, face), FaceRecord(source="door")])
        gallery.migration.start("something-else", 8)
    where = ("--gallery", folder)
    assert (
        "is on its way to the model something-else"
        in vultus("gallery", "migrate", "--model", "sface_2021dec", *where, code=2).err
    )
    assert "stays with the model an-older-model" in vultus("gallery", "migrate", "--abandon", *where).err
    assert "say --model NAME, or --abandon" in vultus("gallery", "migrate", *where, code=2).err
    assert "yunet_2023mar" in vultus("gallery", "migrate", "--model", "yunet_2023mar", *where, code=2).err
    said = vultus("gallery", "migrate", "--model", "sface_2021dec", "--json", *where).json
    assert (said["from"], said["to"], said["faces"], said["lacking"]) == (
        "an-older-model",
        faces["fingerprint"],
        1,
        1,
    )
    assert list(said["reasons"].values()) == [1]
    best = vultus("query", photo, "--json", *where).json["faces"][0]["matches"][0]
    assert best["name"] == "Ada"
    assert best["similarity"] > 0.98
    assert "holds vectors of the model" in vultus("gallery", "migrate", "--model", "sface_2021dec", *where, code=2).err

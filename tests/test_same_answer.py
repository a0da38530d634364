"""One face, three ways in: the command line, Python in one process, and the stage processes must agree.

The three take the photograph through the same stages, so what may differ is only rounding: a batch of another size may
take another kernel of the engine. A cosine of 0.9999 is far above that, and far below any change of box or landmarks.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import Run

from vultus.configs.schema import Config
from vultus.index import Gallery
from vultus.stages.finder import FaceFinder


def only_vector(folder: Path) -> np.ndarray:
    """The embedding of the one face of a gallery."""
    with Gallery.open(folder, create=False) as gallery:
        (face,) = [face for owner in (None, *(one.id for one in gallery.identities())) for face in gallery.faces(owner)]
        vector = gallery.face(face.id).vector
    assert vector is not None
    return vector


@pytest.mark.slow
@pytest.mark.parametrize("file", ["person_a_2.jpg", "person_b_2.jpg"])
def test_embedding_and_matches_agree(
    vultus: Run, samples: tuple[Path, Any], gallery: Path, tmp_path: Path, file: str
) -> None:
    photo = samples[0] / file
    with FaceFinder(Config()) as finder:
        (face,) = finder.find(photo)
    vultus("people", "enrol", "probe", photo, "--gallery", tmp_path / "enrolled")
    vultus("index", photo, "--gallery", tmp_path / "indexed")
    vectors = {
        "one process": face.vector,
        "command line": only_vector(tmp_path / "enrolled"),
        "stage processes": only_vector(tmp_path / "indexed"),
    }
    for name, vector in vectors.items():
        assert float(vector @ face.vector) > 0.9999, name

    told = vultus("query", photo, "-k", 5, "--gallery", gallery, "--json").json["faces"][0]["matches"]
    with Gallery.open(gallery, create=False) as opened:
        for name, vector in vectors.items():
            (matches,) = opened.search([vector], 5)
            assert [match.face_id for match in matches] == [match["face_id"] for match in told], name
            assert [match.identity for match in matches] == [match["identity"] for match in told], name
            np.testing.assert_allclose(
                [match.similarity for match in matches], [match["similarity"] for match in told], atol=1e-4
            )


@pytest.mark.slow
def test_watching_names_what_querying_names(vultus: Run, samples: tuple[Path, Any], gallery: Path) -> None:
    photo = samples[0] / "person_a_2.jpg"
    best = vultus("query", photo, "-k", 1, "--gallery", gallery, "--json").json["faces"][0]["matches"][0]
    (seen,) = vultus("watch", photo, "--gallery", gallery, "--json").lines
    assert set(seen) >= {"source", "time", "track", "identity", "name", "similarity", "box"}
    assert (seen["identity"], seen["name"]) == (best["identity"], best["name"])
    assert seen["similarity"] == pytest.approx(best["similarity"], abs=1e-3)

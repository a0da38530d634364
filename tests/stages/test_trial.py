"""An embedder that tells people apart is accepted, one that does not is refused with a reason."""

from pathlib import Path

import numpy as np
import pytest

from vultus.stages.embed import vectors_of, with_lengths
from vultus.stages.trial import SampleFaces, embedder_trial, sample_faces
from vultus.weights import open_embedder

PERSONS = ("Ada", "Ada", "Bo", "Cy")


class Given:
    """Gives one prepared vector for each chip, which its first pixel names."""

    def __init__(self, vectors: np.ndarray, size: tuple[int, int] = (112, 112)) -> None:
        self.vectors, self.input_size, self.seen = vectors.astype(np.float32), size, None

    def embed_chips(self, chips: np.ndarray, *, normalize: bool = True) -> np.ndarray:
        self.seen = chips
        found = self.vectors[chips[:, 0, 0, 0]]
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths == 0, 1, lengths) if normalize else found


@pytest.fixture
def faces() -> SampleFaces:
    chips = np.zeros((4, 112, 112, 3), np.uint8)
    chips[:] = np.arange(4)[:, None, None, None]
    return SampleFaces(labels=("a1", "a2", "b", "c"), persons=PERSONS, chips=chips)


def test_the_same_person_nearer_than_others(faces):
    tried = embedder_trial(Given(np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0, 1]])), faces)
    assert tried.wrong is None
    assert (round(tried.same, 6), round(tried.other, 6), tried.threshold) == (0.8, 0.6, 0.7)
    assert [(pair.first, pair.second, pair.same) for pair in tried.pairs[:2]] == [
        ("a1", "a2", True),
        ("a2", "b", False),
    ]


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0.9, 0.1], [0, 0, 1]], "takes a2 and b for one person"),
        ([[1, 0, 0]] * 4, "for one person"),
        ([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]], "nothing but zeros"),
        ([[1, 0, 0], [1, 0, 0], [np.nan, 0, 0], [0, 0, 1]], "not finite"),
    ],
)
def test_what_tells_nobody_apart_is_refused(faces, vectors, reason):
    assert reason in embedder_trial(Given(np.array(vectors)), faces).wrong


def test_narrow_networks_are_given_the_middle(faces):
    faces.chips[:, 50, 8] = 77
    narrow = Given(np.eye(4), size=(112, 96))
    faces.chips[:, 0, 8] = np.arange(4)[:, None]
    vectors_of(narrow, faces.chips)
    assert narrow.seen.shape == (4, 112, 96, 3)
    assert (narrow.seen[:, 50, 0] == 77).all()


def test_lengths_are_what_the_network_gave(faces):
    vectors, lengths = with_lengths(Given(np.array([[3, 4], [0, 0], [0, 2], [1, 0]])), faces.chips)
    assert lengths.tolist() == [5, 0, 2, 1]
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [0, 1], [1, 0]], rtol=1e-6)


def test_the_default_embedder_passes(registry, data_home: Path, samples):
    faces = sample_faces(data_home, samples[0])
    assert len(faces.labels) == 12
    assert sorted(faces.persons.count(one) for one in set(faces.persons)) == [1] * 8 + [2, 2]
    tried = embedder_trial(open_embedder(registry.resolve("sface_2021dec").path, threads=1), faces)
    assert tried.wrong is None
    assert tried.other < 0.4 < tried.same  # two of the group picture are alike by 0.378, above SFace's own threshold

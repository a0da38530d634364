import numpy as np
import pytest

from vultus.index.embedding import normalised


def test_rows_come_out_with_length_one_and_the_input_stays(vectors):
    given = vectors(50, 33)
    before = given.copy()
    rows = normalised(given, 33)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1.0, atol=3e-7)
    np.testing.assert_allclose(rows, before / np.linalg.norm(before, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e30])
def test_tiny_and_huge_vectors_have_a_direction(scale):
    np.testing.assert_allclose(normalised(np.full((1, 4), scale), 4), 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([[1.0, 2.0], [np.nan, 1.0]], "row 1 of vectors holds a NaN or infinity"),
        ([[1.0, 2.0], [3.0, -np.inf]], "row 1 of vectors holds a NaN or infinity"),
        ([[1e300, 0.0]], "row 0 of vectors holds a NaN or infinity"),
        ([[1.0, 2.0], [0.0, 0.0]], "row 1 of vectors is all zeros"),
        ([[1e-300, 0.0]], "row 0 of vectors is all zeros"),
        ([1.0, 2.0], "shape"),
        ([[[1.0, 2.0]]], "shape"),
        (3.0, "shape"),
        ([[1.0, 2.0], [3.0]], "table of numbers"),
        ([["a", "b"]], "table of numbers"),
        ([[1j, 2j]], "table of numbers"),
        ([[1.0, 2.0, 3.0]], "vectors have 3 numbers each, but this gallery's have 2"),
        (np.ones((1, 0)), "shape"),
        (np.ones((1, 8193)), "shape"),
    ],
)
def test_what_has_no_direction_is_refused_with_its_row(given, words):
    with pytest.raises(ValueError, match=words):
        normalised(given, 2)


@pytest.mark.parametrize("given", [[], np.empty((0, 7)), np.empty((0, 0))])
def test_no_rows_are_no_rows(given):
    assert normalised(given, 5).shape == (0, 5)
    assert len(normalised(given, None)) == 0

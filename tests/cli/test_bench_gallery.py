"""`vultus bench gallery`: its figures are whole, and its exact contenders are exact."""

from pathlib import Path

import numpy as np
import pytest
from cli_process import Run

from vultus.cli import gallery_contenders as contenders
from vultus.index import Gallery

QUICK = ("--faces", "3000", "--calls", "5", "--probes", "96", "--peers", "faiss")


@pytest.mark.slow
def test_contenders_are_compared(vultus: Run) -> None:
    answer = vultus("bench", "gallery", *QUICK, "--dim", "32", "--index", "flat,pq-sq8", "--json").json
    assert answer["conditions"]["faces"] == 3000
    rows = {row["contender"]: row for row in answer["results"]}
    assert list(rows) == ["vultus flat", "vultus pq-sq8", "faiss Flat", "faiss PQ32x4fs,Refine(SQ8)"]
    assert rows["vultus flat"]["as_exact"] == rows["faiss Flat"]["as_exact"] == 1.0
    assert rows["vultus pq-sq8"]["as_exact"] >= 0.97
    assert rows["vultus pq-sq8"]["bytes_per_vector"] == 32 + 16 + 16
    for row in rows.values():
        assert row["right"] <= 1.0
        assert 0 < row["p50"] <= row["p99"]
    assert all(value > 0 for value in answer["gallery"].values())


@pytest.mark.slow
def test_the_faces_of_a_gallery_are_widened(vultus: Run, tmp_path: Path, rand: np.random.Generator) -> None:
    folder = tmp_path / "gallery"
    centres = rand.standard_normal((40, 24))
    with Gallery.open(folder) as gallery:
        names = [f"p{at % 40}" for at in range(120)]
        gallery.enrol_many(names, centres[np.arange(120) % 40] + 0.5 * rand.standard_normal((120, 24)))
    told = vultus("bench", "gallery", *QUICK, "--like", folder, "--index", "flat").out
    assert "dim: 24" in told
    assert "vectors: widened" in told
    assert "vultus flat" in told
    assert "deleting a face" in told
    said = vultus("bench", "gallery", "--index", "hnsw", code=2).err
    assert "'hnsw' is no kind of index; there are auto, flat" in said


def test_widened_people_are_as_various_as_the_known(rand: np.random.Generator) -> None:
    centres = rand.standard_normal((300, 64)) / 8
    known = centres[np.arange(1200) // 4] + 0.6 * rand.standard_normal((1200, 64)) / 8
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    faces = contenders.widened(known.astype(np.float32), np.arange(1200) // 4, 4000, 4, 50, rand)

    def together(rows: np.ndarray) -> float:
        groups = rows[: len(rows) // 4 * 4].reshape(-1, 4, rows.shape[1])
        return float(np.einsum("pd,pd->p", groups[:, 0], groups[:, 1]).mean())

    assert together(faces.rows) == pytest.approx(together(known), abs=0.08)
    assert np.linalg.norm(faces.rows, axis=1) == pytest.approx(1, abs=1e-5)
    assert (contenders.exact(faces) == faces.wanted).mean() > 0.7  # of 50 probes; chance would be a thousandth
    with pytest.raises(ValueError, match="at least three people"):
        contenders.widened(known[:8].astype(np.float32), np.arange(8) // 4, 100, 4, 50, rand)


def test_many_vectors_lie_in_a_file(rand: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    state = rand.bit_generator.state
    held = contenders.spread(500, 16, 5, 20, 0.5, rand)
    monkeypatch.setattr(contenders, "_IN_MEMORY", 0)
    rand.bit_generator.state = state
    filed = contenders.spread(500, 16, 5, 20, 0.5, rand)
    assert isinstance(filed.rows, np.memmap)
    assert not isinstance(held.rows, np.memmap)
    assert np.array_equal(filed.rows, held.rows)


@pytest.mark.parametrize("peer", ["hnswlib", "usearch"])
def test_a_graph_that_was_ended_goes_on(
    peer: str, rand: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"hnswlib": "hnswlib", "usearch": "usearch.index"}[peer], reason="needs vultus[bench]")
    faces = contenders.spread(600, 16, 5, 20, 0.3, rand)
    build = getattr(contenders, peer)
    monkeypatch.setattr(contenders, "_GROWN", 200)
    monkeypatch.setattr(contenders, "_KEPT_EVERY_S", 0)
    put_down = contenders._put_down

    def ended(graph: contenders.Growing, note: Path, seconds: float) -> None:
        put_down(graph, note, seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(contenders, "_put_down", ended)
    with pytest.raises(KeyboardInterrupt):
        build(faces, 5, 1, tmp_path)
    monkeypatch.setattr(contenders, "_put_down", put_down)
    (first,) = tmp_path.glob("*.graph")
    begun = build(faces, 5, 1, tmp_path)
    (whole,) = tmp_path.glob("*.graph")
    assert (first.stem.rsplit("-")[-1], whole.stem.rsplit("-")[-1]) == ("200", "600")
    assert np.array_equal(begun[1].first(faces.probes), contenders.exact(faces))
    again = build(faces, 5, 1, tmp_path)
    assert again[0].seconds == begun[0].seconds  # of all runs that added something
    build(contenders.spread(600, 16, 5, 20, 0.3, rand), 5, 1, tmp_path)
    assert len(list(tmp_path.glob("*.graph"))) == 2  # of other vectors another one
    (note,) = (path for path in tmp_path.glob("*.json") if whole.name.startswith(path.stem))
    note.write_text("{}")
    with pytest.raises(ValueError, match="delete it to have the graph built anew"):
        build(faces, 5, 1, tmp_path)

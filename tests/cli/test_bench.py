"""`vultus bench engine`: what it prints is whole, adds up, and names who could not take part."""

from pathlib import Path

import efm3_reference as efm3
import numpy as np
import pytest
from cli_process import Run
from click.testing import CliRunner

from vultus.cli import contenders
from vultus.cli.bench import bench
from vultus.native import Engine

SHAPE = efm3.Shape(stem=16, block=16, final=32, dim=8, stages=((2, 1, 2), (2, 1, 2), (2, 1, 2)))
QUICK = ("--threads", "1", "--seconds", "0.1")


@pytest.fixture
def model(rand: np.random.Generator, tmp_path: Path) -> Path:
    path = tmp_path / "small.bin"
    path.write_bytes(efm3.write(SHAPE, efm3.make_layers(SHAPE, rand)))
    return path


@pytest.mark.slow
def test_figures_add_up(vultus: Run, model: Path) -> None:
    answer = vultus("bench", "engine", model, *QUICK, "--batch", "1,3", "--peers", "onnxruntime", "--json").json
    conditions = answer["conditions"]
    assert conditions["seed"] == 1
    assert conditions["peak_gflops"] > 0
    assert conditions["versions"]["onnxruntime"]
    rows = answer["results"]
    assert [(row["batch"], row["contender"]) for row in rows] == [
        (batch, who) for batch in (1, 3) for who in ("vultus", "onnxruntime")
    ]
    (layers,) = answer["layers"].values()
    assert [layer["text"] for layer in layers[1:-1]] == list(Engine(model).layers)
    macs = sum(layer["macs"] for layer in layers)
    for row in rows:
        assert 0 < row["ms_best"] <= row["ms"]
        assert row["gflops"] == pytest.approx(2e-6 * macs / row["ms"], rel=1e-3)
        assert row["share_of_peak"] == pytest.approx(row["gflops"] / conditions["peak_gflops"], rel=1e-3)
        assert row["times_vultus"] == 1 or row["contender"] != "vultus"
    assert not answer["missing"]
    assert not answer["failed"]


@pytest.mark.slow
def test_in_words(vultus: Run, model: Path) -> None:
    told = vultus("bench", "engine", model, *QUICK, "--batch", "1", "--peers", "none").out
    assert "times vultus" in told
    assert "fully connected" in told
    assert "together" in told
    told = vultus("bench", "engine", "yunet_2023mar", *QUICK, "--batch", "1", "--peers", "none", "--size", "64x32").out
    assert "64x32" in told
    assert "max pool" in told


@pytest.mark.slow
def test_a_peer_that_is_missing_fails_or_cheats(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = contenders.installed
    monkeypatch.setattr("vultus.cli.bench.installed", lambda package: None if package == "openvino" else real(package))

    def fails(*_: object) -> contenders.Run:
        raise RuntimeError("cannot do that")

    def cheats(graph: object, x: np.ndarray, threads: int) -> contenders.Run:
        return lambda: [np.ones((len(x), SHAPE.dim), np.float32)]

    monkeypatch.setitem(contenders._PEERS, "onnxruntime", {"onnxruntime": fails})
    monkeypatch.setitem(contenders._PEERS, "opencv", {"opencv": cheats})
    told = CliRunner().invoke(bench, ["engine", str(model), *QUICK, "--batch", "1", "--no-layers"])
    assert told.exit_code == 0, told.output
    assert "openvino: not installed; `pip install 'vultus[bench]'`" in told.stdout
    assert "onnxruntime: cannot do that" in told.stdout
    assert "opencv: computes something else" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.onnx"], "neither a file nor a model"),
        (["--threads", "0"], "1,2"),
        (["--threads", "257"], "256"),
        (["--batch", "x"], "1,2"),
        (["--size", "640"], "640x480"),
        (["--peers", "torch"], "onnxruntime"),
    ],
)
def test_wrong_usage(vultus: Run, arguments: list[str], words: str) -> None:
    assert words in vultus("bench", "engine", *arguments, code=2).err


@pytest.mark.slow
def test_every_peer_computes_the_same(model: Path) -> None:
    what = contenders.subject(model, "small", None)
    peers = [peer for peer, package in contenders.PACKAGES.items() if contenders.installed(package)]
    results, absent = contenders.contest(what, threads=2, batch=3, peers=peers, seconds=0.05, seed=5, peak=100.0)
    assert not absent
    assert {row.contender for row in results} >= {"vultus", *peers}

"""ONNX Runtime for what the engine lacks: who computes a model, that the answers are right, and what never gets there."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus.configs.schema import Models
from vultus.native import Engine, ModelFormatError, Network, UnsupportedModelError
from vultus.weights import Backend, BackendMissing, Registry, open_embedder, open_network
from vultus.weights.onnx_runtime import OnnxEmbedder, OnnxNetwork

DIM = 5
WEIGHT = np.linspace(-1, 1, 3 * 8 * 6 * DIM, dtype=np.float32).reshape(-1, DIM) / 7
META = {"vultus.mean": "127.5", "vultus.std": "128, 64 32", "vultus.colour": "bgr"}


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    outputs: list[str],
    size: tuple[int | str, int | str] = (8, 6),
    batch: int | str = "n",
    constants: dict[str, np.ndarray] | None = None,
    edit: Callable[[onnx.ModelProto], object] = lambda _: None,
) -> Path:
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, *size])
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    weights = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "test", [data], outs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, META)
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


def tan(path: Path, **how: object) -> Path:
    """tan of every number, and a fully connected layer: an embedder with an operator that the engine lacks."""
    nodes = [
        helper.make_node("Tan", ["data"], ["t"]),
        helper.make_node("Flatten", ["t"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"]),
    ]
    return save(path, nodes, ["y"], constants={"w": WEIGHT}, **how)  # type: ignore[arg-type]


def fed(chips: np.ndarray) -> np.ndarray:
    """What META declares: BGR planes, (p - 127.5) / (128, 64, 32)."""
    return ((chips - 127.5) / np.array([128, 64, 32])).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("batch", ["n", 1])
def test_an_operator_that_the_engine_lacks(
    batch: int | str, rand: np.random.Generator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tan(tmp_path / "tan.onnx", batch=batch)
    with pytest.raises(UnsupportedModelError, match=r"operator Tan .*pip install 'vultus\[onnx\]'"):
        Engine(path)
    with pytest.raises(UnsupportedModelError, match="operator Tan"):
        open_embedder(path, backend="engine")
    with caplog.at_level(logging.WARNING, "vultus.weights"):
        embedder = open_embedder(path, threads=1)
    assert "operator Tan" in caplog.text
    assert "ONNX Runtime" in caplog.text
    assert (embedder.dim, embedder.input_size, embedder.threads) == (DIM, (8, 6), 1)
    assert embedder.normalisation == {"mean": (127.5,) * 3, "std": (128, 64, 32), "colour": "bgr"}
    chips = rand.integers(0, 256, (37, 8, 6, 3), np.uint8)
    x = fed(chips)
    want = np.tan(x).reshape(37, -1) @ WEIGHT.astype(np.float64)
    raw = embedder.embed_chips(chips, normalize=False)
    assert raw.dtype == np.float32
    assert np.abs(raw - want).max() < 1e-3 * np.abs(want).max()
    unit = embedder.embed(x.astype(np.float32))
    assert np.abs(unit - raw / np.linalg.norm(raw, axis=1, keepdims=True)).max() < 1e-3
    assert np.abs(np.linalg.norm(unit, axis=1) - 1).max() < 1e-6
    assert embedder.embed_chips(chips[:0]).shape == (0, DIM)


def test_a_detector_with_instance_normalisation(rand: np.random.Generator, tmp_path: Path) -> None:
    scale, bias = (rand.uniform(0.5, 2, 3).astype(np.float32) for _ in range(2))
    nodes = [
        helper.make_node("InstanceNormalization", ["data", "s", "b"], ["y"], epsilon=1e-5),
        helper.make_node("Sigmoid", ["y"], ["z"]),
    ]
    path = save(tmp_path / "in.onnx", nodes, ["y", "z"], ("h", "w"), constants={"s": scale, "b": bias})
    with pytest.raises(UnsupportedModelError, match="InstanceNormalization"):
        Network(path)
    network = open_network(path, threads=1)
    assert network.input_size is None
    assert network.outputs((4, 5)) == {"y": (3, 4, 5), "z": (3, 4, 5)}
    for size in ((4, 5), (9, 7)):
        pictures = rand.integers(0, 256, (3, *size, 3), np.uint8)
        x = fed(pictures)
        x -= x.mean((2, 3), keepdims=True)
        want = x / np.sqrt((x**2).mean((2, 3), keepdims=True) + 1e-5) * scale[:, None, None] + bias[:, None, None]
        got = network.run(pictures)
        assert np.abs(got["y"] - want).max() < 1e-4
        assert np.abs(got["z"] - 1 / (1 + np.exp(-want))).max() < 1e-5
        assert np.array_equal(network.run(fed(pictures).astype(np.float32))["y"], got["y"])
        assert {name: part.shape[0] for name, part in network.run(pictures[:0]).items()} == {"y": 0, "z": 0}


def test_the_stand_ins_agree_with_the_engine(registry: Registry, rand: np.random.Generator) -> None:
    embedder = registry.resolve(Models().embedder).path
    chips = rand.integers(0, 256, (3, 112, 112, 3), np.uint8)
    ours, theirs = open_embedder(embedder), open_embedder(embedder, backend="onnx")
    assert isinstance(ours, Engine)
    assert isinstance(theirs, OnnxEmbedder)
    assert ours.normalisation == theirs.normalisation
    assert np.abs(ours.embed_chips(chips) - theirs.embed_chips(chips)).max() < 1e-5
    detector = registry.resolve(Models().detector).path
    picture = rand.integers(0, 256, (1, 96, 64, 3), np.uint8)
    mine, other = open_network(detector), open_network(detector, backend="onnx")
    assert isinstance(other, OnnxNetwork)
    assert mine.outputs((96, 64)) == other.outputs((96, 64))
    answers = other.run(picture)
    for name, value in mine.run(picture).items():
        assert np.abs(value - answers[name]).max() < 1e-3


def test_without_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tan(tmp_path / "tan.onnx")
    monkeypatch.setattr("vultus.weights.onnx_runtime.installed", lambda: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnsupportedModelError, match=r"operator Tan .*vultus\[onnx\]"):
        open_embedder(path)
    with pytest.raises(BackendMissing, match=r"vultus\[onnx\]"):
        open_embedder(path, backend="onnx")


def constant_of_shape(numbers: int) -> list[onnx.NodeProto]:
    """A file of a few bytes that wants any amount of memory, added to the embedding."""
    shape = numpy_helper.from_array(np.array([numbers]), "shape")
    return [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["one"], keepdims=0),
        helper.make_node("Tan", ["data"], ["t"]),
        helper.make_node("Add", ["t", "one"], ["y"]),
    ]


def loop() -> list[onnx.NodeProto]:
    body = helper.make_graph(
        [helper.make_node("Tan", ["data"], ["b"])],
        "body",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    return [helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)]


def elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


@pytest.mark.parametrize("backend", ["auto", "onnx"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: save(p, constant_of_shape(1 << 40), ["y"]), "beyond 2\\^26 numbers"),
        (lambda p: save(p, loop(), ["y"], constants={"c": np.array(True)}), "graph of its own"),
        (lambda p: tan(p, edit=elsewhere), "in another file"),
        (lambda p: tan(p, edit=lambda m: setattr(m.graph.node[0], "domain", "com.microsoft")), r"com\.microsoft\.Tan"),
        (lambda p: tan(p, edit=lambda m: m.graph.node[0].input.append("data")), "Tan"),
        (lambda p: tan(p, edit=lambda m: m.graph.node[1].input.__setitem__(0, "nowhere")), "nowhere|not computed|input"),
        (lambda p: tan(p, edit=lambda m: m.functions.add(name="f")), "functions"),
        (lambda p: tan(p, size=("h", "w")), "fixed height and width"),
        (lambda p: save(p, [helper.make_node("Tan", ["data"], ["y"])], ["y"]), "not a vector"),
        (lambda p: save(p, [helper.make_node("NonZero", ["data"], ["i"]), helper.make_node("Cast", ["i"], ["y"], to=1)],
                        ["y"]), "not known before"),
    ],
)  # fmt: skip
def test_what_onnx_runtime_is_not_shown(
    make: Callable[[Path], Path], words: str, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "bad.onnx")
    import onnxruntime

    if "vector" not in words and "fixed" not in words:

        def opened(*_: object, **__: object) -> None:
            raise AssertionError("ONNX Runtime was shown a file that it must not see")

        monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    with pytest.raises(ModelFormatError, match=words):
        open_embedder(path, backend=backend)


def test_damaged_files_stay_away(tmp_path: Path, rand: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tan(tmp_path / "tan.onnx")
    good = path.read_bytes()
    monkeypatch.setattr("vultus.weights.onnx_runtime.OnnxEmbedder", None)
    for data in (good[:-1], good[: len(good) // 2], b"", b"EFM3" + good, b"\x08\x08" + rand.bytes(300)):
        path.write_bytes(data)
        with pytest.raises(ModelFormatError) as caught:
            open_embedder(path)
        assert caught.type is ModelFormatError
    with pytest.raises(FileNotFoundError):
        open_embedder(tmp_path / "missing.onnx")
    with pytest.raises(OSError, match=r"directory|file"):
        open_embedder(tmp_path)


def test_spoilt_bytes_are_refused_or_computed(tmp_path: Path, rand: np.random.Generator) -> None:
    path = tan(tmp_path / "tan.onnx")
    good = path.read_bytes()
    for _ in range(150):
        bad = bytearray(good)
        for at in rand.integers(0, len(good), 2):
            bad[at] = rand.integers(0, 256)
        path.write_bytes(bad)
        try:
            answer = OnnxEmbedder(path, threads=1).embed(np.zeros((1, 3, 8, 6), np.float32))
        except (ModelFormatError, ValueError):
            continue
        assert answer.ndim == 2


def test_wrong_arguments_and_a_fork(tmp_path: Path) -> None:
    embedder = open_embedder(tan(tmp_path / "tan.onnx"), threads=1)
    with pytest.raises(TypeError, match="uint8"):
        embedder.embed_chips(np.zeros((1, 8, 6, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(n, 8, 6, 3\)"):
        embedder.embed_chips(np.zeros((1, 6, 8, 3), np.uint8))
    model = embedder._model  # type: ignore[attr-defined]
    model._process = os.getpid() + 1
    with pytest.raises(RuntimeError, match="fork"):
        embedder.embed(np.zeros((1, 3, 8, 6), np.float32))

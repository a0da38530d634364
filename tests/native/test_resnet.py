"""ResNet embedders, as PyTorch and MXNet export them, against ONNX Runtime: dense convolutions, direct and by Winograd,
batch norms before padding, and raw output, whose length is MagFace's quality."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import resnet_onnx
from onnx import numpy_helper

from vultus.native import Engine, ModelFormatError

SMALL = {"size": 40, "blocks": (2, 2, 1, 1), "widths": (32, 40, 48, 64), "dim": 24}
"""Maps of 40, 20, 10, 5 and 3 pixels: whole tiles, cut ones, and too few for Winograd."""


def reference(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime, face by face, without its optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    name = next(value.name for value in session.get_inputs() if len(value.shape) == 4 and value.shape[1] == 3)
    return np.concatenate([session.run(None, {name: face[None]})[0] for face in x])


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def check(
    model: onnx.ModelProto, x: np.ndarray, path: Path, isa: str = "auto", want: np.ndarray | None = None
) -> Engine:
    """Largest difference 3e-5 of the largest number, cosine above 0.999999, and the length too."""
    onnx.save(model, path)
    engine = Engine(path, threads=2, isa=isa)
    want = reference(model, x) if want is None else want
    got = engine.embed(x, normalize=False)
    assert np.abs(got - want).max() <= 3e-5 * np.abs(want).max()
    assert cosines(got, want).min() > 0.999999
    lengths = np.linalg.norm(want, axis=1)
    assert np.abs(np.linalg.norm(got, axis=1) / lengths - 1).max() < 1e-5
    assert lengths.max() > 1.5  # so that a normalised vector would have failed
    assert np.abs(np.linalg.norm(engine.embed(x), axis=1) - 1).max() < 1e-6
    return engine


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("folded", [False, True], ids=["nodes", "folded"])
@pytest.mark.parametrize("batch", [1, "batch_size"])
def test_iresnet(
    rand: np.random.Generator, tmp_path: Path, isa: str, dynamo: bool, folded: bool, batch: int | str
) -> None:
    model = resnet_onnx.iresnet(rand, folded=folded, dynamo=dynamo, batch=batch, **SMALL)
    x = rand.uniform(-1, 1, (5, 3, 40, 40)).astype(np.float32)
    engine = check(model, x, tmp_path / "m.onnx", isa)
    assert sum("winograd" in layer for layer in engine.layers) == 8
    assert not [layer for layer in engine.layers if layer.startswith("elementwise 1x1/1 32x")]


@pytest.mark.parametrize("spatial", [0, 1])
@pytest.mark.parametrize("slope_rank", [1, 3])
def test_arcface_of_the_model_zoo(
    rand: np.random.Generator, tmp_path: Path, isa: str, spatial: int, slope_rank: int
) -> None:
    state = rand.bit_generator.state
    model = resnet_onnx.arcface_mxnet(rand, spatial=spatial, slope_rank=slope_rank, **SMALL)
    rand.bit_generator.state = state  # the same numbers in the form that ONNX Runtime takes
    same = resnet_onnx.arcface_mxnet(rand, **SMALL)
    x = rand.uniform(0, 255, (3, 3, 40, 40)).astype(np.float32)
    check(model, x, tmp_path / "m.onnx", isa, reference(same, x))


def test_chips_are_pixels_for_the_model_zoo(rand: np.random.Generator, tmp_path: Path) -> None:
    """Its first nodes normalise, so nothing has to be declared."""
    onnx.save(resnet_onnx.arcface_mxnet(rand, **SMALL), tmp_path / "m.onnx")
    engine = Engine(tmp_path / "m.onnx", threads=1)
    chips = rand.integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    planes = np.ascontiguousarray(chips[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32)
    assert cosines(engine.embed_chips(chips), engine.embed(planes)).min() > 1 - 1e-7


def shifted(model: onnx.ModelProto, by: float) -> onnx.ModelProto:
    """Every batch norm before a convolution shifts, and so would show where it is computed outside the map."""
    for tensor in model.graph.initializer:
        if re.search(r"\.bn1\.bias$", tensor.name):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(by), tensor.name))
    return model


def test_a_shift_before_the_padding(rand: np.random.Generator, tmp_path: Path, isa: str) -> None:
    model = shifted(resnet_onnx.iresnet(rand, **{**SMALL, "widths": (32, 40, 16, 24)}), 3)  # 16: no Winograd
    x = rand.uniform(-1, 1, (2, 3, 40, 40)).astype(np.float32)
    engine = check(model, x, tmp_path / "m.onnx", isa)
    assert {layer.split()[0] for layer in engine.layers} >= {"winograd", "conv", "elementwise"}


def test_any_number_of_faces_and_threads(rand: np.random.Generator, tmp_path: Path) -> None:
    """Faces share the weights of deep layers, and nothing else."""
    onnx.save(resnet_onnx.iresnet(rand, **SMALL), tmp_path / "m.onnx")
    x = rand.uniform(-1, 1, (19, 3, 40, 40)).astype(np.float32)
    one = Engine(tmp_path / "m.onnx", threads=1)
    want = np.concatenate([one.embed(face[None]) for face in x])
    for threads in (1, 2, 3):
        engine = Engine(tmp_path / "m.onnx", threads=threads)
        for n in (1, 2, 3, 5, 8, 13, 19):
            assert np.abs(engine.embed(x[:n]) - want[:n]).max() < 1e-6


def test_batch_norm_of_every_number_is_refused(rand: np.random.Generator, tmp_path: Path) -> None:
    model = resnet_onnx.arcface_mxnet(rand, spatial=0, **SMALL)
    tensor = next(t for t in model.graph.initializer if t.name == "bn1.weight")
    tensor.CopyFrom(numpy_helper.from_array(np.ones((64, 3, 3), np.float32), tensor.name))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelFormatError, match=r"BatchNormalization 'bn1\.out' is in training mode or not by channel"):
        Engine(tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", resnet_onnx.GENERATED)
def test_as_large_as_they_are(rand: np.random.Generator, tmp_path: Path, name: str) -> None:
    """The cosine after a hundred convolutions by Winograd, and what such an engine takes."""
    model = resnet_onnx.GENERATED[name](rand)
    low, high = (0, 255) if name.startswith("arcface") else (-1, 1)
    x = rand.uniform(low, high, (2, 3, 112, 112)).astype(np.float32)
    engine = check(model, x, tmp_path / "m.onnx")
    assert engine.dim == 512
    assert engine.memory["weights"] < 1 << 30


def test_threads_share_a_face(tmp_path: Path, rand: np.random.Generator) -> None:
    """Tiles, and channels of them, are shared out; the numbers are those of one thread."""
    path = tmp_path / "model.onnx"
    onnx.save(resnet_onnx.iresnet(rand, **SMALL), path)
    x = rand.uniform(-1, 1, (3, 3, SMALL["size"], SMALL["size"])).astype(np.float32)
    alone = Engine(path, threads=1).embed(x, normalize=False)
    for threads in (2, 3, 6):
        engine = Engine(path, threads=threads)
        for n in (1, 2, 3):
            assert np.array_equal(engine.embed(x[:n], normalize=False), alone[:n])

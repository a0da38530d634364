"""MobileFaceNets of Keras: what Keras computes, whole models and weights alone, and files that mean no good."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import efm3_reference as efm3_files
import numpy as np
import pytest

from vultus.native import Engine
from vultus.weights import ImportFailed, keras_net
from vultus.weights.convert import convert
from vultus.weights.keras_file import KerasFile, read

h5py = pytest.importorskip("h5py")
KERAS = Path(__file__).parents[1] / "support" / "keras_mobilefacenet.py"
SHAPE = efm3_files.Shape(
    stem=8, block=16, final=32, dim=24, stages=((2, 5, 2), (4, 1, 2), (2, 6, 1), (4, 1, 2), (2, 2, 1))
)


@pytest.mark.slow
@pytest.mark.timeout(600)  # jax compiles each operation
def test_as_keras_itself(tmp_path):
    if not (find_spec("keras") and find_spec("jax")):  # imported in a process of their own only
        pytest.skip("needs keras, and jax for its convolutions (`pip install keras jax`); nothing else here uses them")
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, KERAS, tmp_path], check=True, env=environment, capture_output=True)
    told = np.load(tmp_path / "answer.npz")
    for name in ("whole.h5", "m.weights.h5"):
        made = convert(tmp_path / name, ".onnx")
        assert made.family == "MobileFaceNet-Keras"
        (tmp_path / "m.onnx").write_bytes(made.data)
        engine = Engine(tmp_path / "m.onnx", threads=1)
        assert engine.normalisation == {"mean": (0.0,) * 3, "std": (255.0,) * 3, "colour": "rgb"}
        given = engine.embed(np.ascontiguousarray(told["x"].transpose(0, 3, 1, 2)), normalize=False)
        assert np.abs(given - told["y"]).max() < 1.3e-5 * np.abs(told["y"]).max()
        with pytest.raises(ImportFailed, match="EFM3 has no Gemm"):
            convert(tmp_path / name, ".bin", mean="127.5", std="128")


def layer(kind: str, name: str, before: str | list[str], **config: Any) -> dict[str, Any]:
    before = [before] if isinstance(before, str) else before
    nodes = [[[one, 0, 0, {}] for one in before]] if before else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def write(path: Path, layers: list[dict[str, Any]], weights: dict[str, list[np.ndarray]], **more: Any) -> None:
    """A whole model as Keras 2 saves it."""
    out = layers[-1]["name"]
    config = {"class_name": "Functional", "config": {"layers": layers, "output_layers": [[out, 0, 0]], **more}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/w{i}:0".encode() for i in range(len(arrays))]
            for i, array in enumerate(arrays):
                group.create_dataset(f"{name}/w{i}:0", data=array)


INPUT = layer("InputLayer", "in", [], batch_input_shape=[None, 112, 112, 3])


def test_padding_same_is_one_sided_at_stride_two(tmp_path, rand):
    kernel = rand.standard_normal((3, 3, 3, 4)).astype(np.float32)
    whole = rand.standard_normal((56, 56, 4, 1)).astype(np.float32) / 56
    layers = [
        INPUT,
        layer("Conv2D", "c", "in", strides=[2, 2], padding="same", activation="relu"),
        layer("DepthwiseConv2D", "d", "c", strides=[1, 1], padding="valid"),
        layer("Flatten", "f", "d"),
    ]
    write(tmp_path / "m.h5", layers, {"c": [kernel], "d": [whole]})
    (tmp_path / "m.onnx").write_bytes(convert(tmp_path / "m.h5", ".onnx").data)
    x = rand.standard_normal((1, 112, 112, 3)).astype(np.float32)
    padded = np.pad(x[0].astype(np.float64), ((0, 1), (0, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))[::2, ::2]
    y = np.maximum(np.einsum("yxcij,ijco->yxo", windows, kernel), 0)
    wanted = (y * whole[:, :, :, 0]).sum((0, 1))
    given = Engine(tmp_path / "m.onnx", threads=1).embed(x.transpose(0, 3, 1, 2).copy(), normalize=False)[0]
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)


def as_keras(path: Path, made: list[efm3_files.Layer]) -> None:
    """A network of EFM3's topology as Keras writes it, with what PyTorch pads put before the convolutions."""
    layers, weights, last, kept = [INPUT], {}, "in", ""
    for at, one in enumerate(made):
        depthwise, k = one.weight.shape[1] == 1 and one.weight.shape[2] > 1, one.weight.shape[2]
        if at >= 2 and (at - 2) % 3 == 0:
            kept, channels = last, one.weight.shape[1]
        if k == 3:
            layers.append(layer("ZeroPadding2D", f"p{at}", last, padding=[[1, 1], [1, 1]]))
            last = f"p{at}"
        kind = "DepthwiseConv2D" if depthwise else "Conv2D"
        layers.append(layer(kind, f"c{at}", last, strides=[one.stride, one.stride], padding="valid"))
        weights[f"c{at}"] = [one.weight.transpose(2, 3, 0, 1) if depthwise else one.weight.transpose(2, 3, 1, 0)]
        layers.append(layer("BatchNormalization", f"n{at}", f"c{at}", axis=[3], epsilon=1e-5))
        weights[f"n{at}"], last = list(one.norm), f"n{at}"
        if one.slope is not None:
            layers.append(layer("PReLU", f"r{at}", last, shared_axes=[1, 2]))
            weights[f"r{at}"], last = [one.slope.reshape(1, 1, -1)], f"r{at}"
        block = 2 <= at < len(made) - 3 and (at - 2) % 3 == 2
        if block and made[at - 1].stride == 1 and len(one.weight) == channels:
            layers.append(layer("Add", f"a{at}", [last, kept]))
            last = f"a{at}"
    layers.append(layer("Flatten", "f", last))
    write(path, layers, weights)


def test_where_the_topology_allows_it_becomes_efm3(tmp_path, rand):
    made = efm3_files.make_layers(SHAPE, rand)
    as_keras(tmp_path / "m.h5", made)
    with pytest.raises(ImportFailed, match=r"take \(pixel - 127.5\) / 128, and this one has the mean 0"):
        convert(tmp_path / "m.h5", ".bin")
    done = convert(tmp_path / "m.h5", ".bin", mean="127.5", std="128")
    (tmp_path / "m.bin").write_bytes(done.data)
    x = rand.uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32)
    assert np.abs(Engine(tmp_path / "m.bin", threads=1).embed(x) - efm3_files.compute(made, x)).max() < 1.3e-5


@pytest.mark.parametrize(
    ("layers", "weights", "reason"),
    [
        ([layer("Lambda", "l", "in", function="x")], {}, "Lambda l: no such layer is known"),
        ([layer("Conv2D", "c", "in", strides=[0, 1], padding="same")], {"c": [np.ones((3, 3, 3, 4))]}, "strides"),
        (
            [layer("Conv2D", "c", "in", strides=[1, 1], padding="same")],
            {"c": [np.ones((3, 3, 4, 4))]},
            "for 3 channels",
        ),
        ([layer("PReLU", "r", "in")], {"r": [np.ones((112, 112, 3))]}, "a slope for each place"),
        ([layer("Flatten", "f", "in")], {"f": []}, "Flatten of"),
        ([layer("Flatten", "f", "nowhere")], {}, "not as Keras writes it"),
        ([], {}, "ends in a map"),
        ([layer("Add", "a", "in")], {}, "not as Keras writes it"),
    ],
)
def test_other_networks_are_refused_by_name(layers, weights, reason):
    config = {"class_name": "Functional", "config": {"layers": [INPUT, *layers]}}
    arrays = {name: [array.astype(np.float32) for array in each] for name, each in weights.items()}
    with pytest.raises(ImportFailed, match=reason):
        keras_net.to_onnx(KerasFile(weights=arrays, config=config), mean="0", std="1", colour="rgb")


def test_files_that_mean_no_good(tmp_path):
    path = tmp_path / "m.h5"

    def refused(reason: str) -> None:
        with pytest.raises(ImportFailed, match=reason):
            read(path)

    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    refused("not a file of Keras, or a damaged one")
    for link, reason in ((h5py.ExternalLink("/etc/passwd", "/"), "there is no"), (h5py.SoftLink("/c"), "there is no")):
        write(path, [INPUT], {"c": [np.ones(1)]})
        with h5py.File(path, "a") as file:
            del file["model_weights/c/c/w0:0"]
            file["model_weights/c/c/w0:0"] = link
        refused(reason)
    write(path, [INPUT], {"c": [np.ones(1)]})
    with h5py.File(path, "a") as file:
        del file["model_weights/c/c/w0:0"]
        file["model_weights/c/c"].create_dataset("w0:0", shape=(2**40,), dtype="f4", chunks=(1024,))
    refused("more numbers than any face network")
    write(path, [INPUT], {"c": [np.array([np.inf])]})
    refused("not finite")
    write(path, [INPUT], {"c": [np.array([1, 2])]})
    refused("int64 of 1 dimensions, not weights")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = "[" * 60_000
        del file["model_weights/c"]
        file["model_weights"].attrs["layer_names"] = []
    refused("nested deeper|not a file of Keras")
    write(path, [INPUT], {"c": [np.ones(1)]})
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        with pytest.raises(ImportFailed):
            read(path)

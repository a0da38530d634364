"""Networks of any input size with several outputs, against ONNX Runtime: operators, sizes, YuNet, and how they are misused."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus.configs.schema import Config
from vultus.native import ModelFormatError, Network
from vultus.weights import Registry


class Graph:
    """Appends nodes one after the other; a constant is any array among the inputs."""

    def __init__(self, rand: np.random.Generator, size: tuple[int | str, int | str] = ("h", "w")) -> None:
        self.rand = rand
        self.size = size
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str | np.ndarray | np.generic, **attributes: object) -> str:
        names = []
        for value in inputs:
            if isinstance(value, np.ndarray | np.generic):
                self.initializers.append(numpy_helper.from_array(np.asarray(value), f"k{len(self.initializers)}"))
                value = self.initializers[-1].name
            names.append(value)
        out = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [out], out, **attributes))
        return out

    def conv(self, x: str, c_in: int, c_out: int, k: int = 3, stride: int = 1) -> str:
        weight = self.rand.standard_normal((c_out, c_in, k, k)) * (2 / (c_in * k * k)) ** 0.5
        bias = self.rand.standard_normal(c_out)
        pads = [k // 2] * 4
        return self.add(
            "Conv", x, weight.astype(np.float32), bias.astype(np.float32), pads=pads, strides=[stride, stride]
        )

    def rows(self, x: str, *target: int) -> str:
        return self.add("Reshape", self.add("Transpose", x, perm=[0, 2, 3, 1]), np.array(target))

    def save(self, path: Path, *outputs: str, metadata: dict[str, str] | None = None, opset: int = 17) -> Path:
        data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, *self.size])
        outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "test", [data], outs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        onnx.save(model, path)
        return path


def reference(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x}), strict=True))


def assert_same(got: dict[str, np.ndarray], want: dict[str, np.ndarray], tolerance: float = 1e-4) -> None:
    """To `tolerance` of the largest number of each output; of 1, which is their range, for scores."""
    assert list(got) == list(want)
    for name in want:
        assert got[name].shape == want[name].shape
        largest = 1.0 if name.startswith(("cls", "obj")) else np.abs(want[name]).max()
        assert np.abs(got[name] - want[name]).max() <= tolerance * largest, name


def pool(g: Graph, x: str, **attributes: object) -> str:
    return g.add("MaxPool", x, **attributes)


def upscale(g: Graph, x: str, scales: list[float], **attributes: object) -> str:
    return g.add("Resize", x, "", np.array([1, 1, *scales], np.float32), **attributes)


def numbers(g: Graph, *shape: int) -> np.ndarray:
    return g.rand.standard_normal(shape).astype(np.float32)


def branch(g: Graph, x: str, channels: int, k: int = 3, pad: int = 1) -> str:
    """What a detector's head is made of: pointwise, depthwise."""
    return g.add("Conv", g.conv(x, 11, channels, k=1), numbers(g, channels, 1, k, k), group=channels, pads=[pad] * 4)


def columns(g: Graph, rows: str, start: int, end: int) -> str:
    return g.add("Slice", rows, np.array([start]), np.array([end]), np.array([2]))


def last(g: Graph, x: str) -> str:
    """Channels last."""
    return g.add("Transpose", x, perm=[0, 2, 3, 1])


def size_of(g: Graph, x: str, axis: int) -> str:
    """As PyTorch writes it: a list of one number."""
    return g.add("Unsqueeze", g.add("Gather", g.add("Shape", x), np.array(axis), axis=0), np.array([0]))


def tail(g: Graph, sizes: str, start: int, end: int) -> str:
    return g.add("Slice", g.add("Cast", sizes, to=TensorProto.INT64), np.array([start]), np.array([end]), np.array([0]))


ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

GRAPHS: dict[str, Callable[[Graph, str], list[str]]] = {
    "max pool 2": lambda g, x: [pool(g, x, kernel_shape=[2, 2], strides=[2, 2])],
    "max pool 3": lambda g, x: [pool(g, x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
    "max pool of another shape": lambda g, x: [pool(g, x, kernel_shape=[2, 5], strides=[1, 3], pads=[1, 4, 0, 2])],
    "max pool 2 to the end": lambda g, x: [pool(g, x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
    "max pool 3 to the end": lambda g, x: [pool(g, x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
    "max pool of another shape to the end": lambda g, x: [
        pool(g, x, kernel_shape=[3, 4], strides=[4, 3], pads=[1, 2, 2, 3], ceil_mode=1)
    ],
    "average pool": lambda g, x: [g.add("AveragePool", x, kernel_shape=[2, 3], strides=[2, 1])],
    "average pool with its padding": lambda g, x: [
        g.add("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    ],
    "max pool then relu": lambda g, x: [g.add("Relu", pool(g, x, kernel_shape=[3, 3]))],
    "max pool of the input": lambda g, x: [pool(g, "data", kernel_shape=[2, 2], strides=[2, 2])],
    "resize": lambda g, x: [upscale(g, x, [2, 2], mode="nearest", **ASYMMETRIC)],
    "resize by halves of pixels": lambda g, x: [upscale(g, x, [3, 4], mode="nearest")],
    "resize then add then relu": lambda g, x: [
        g.add(
            "Relu", g.add("Add", upscale(g, pool(g, x, kernel_shape=[2, 2], strides=[2, 2]), [2, 2], **ASYMMETRIC), x)
        )
    ],
    "sigmoid": lambda g, x: [g.add("Sigmoid", x)],
    "sigmoid inside": lambda g, x: [g.conv(g.add("Sigmoid", g.conv(x, 11, 5)), 5, 6)],
    "rows": lambda g, x: [g.rows(x, 0, -1, 11)],
    "rows of another length": lambda g, x: [g.rows(g.conv(x, 11, 6), -1, 24 * 20 * 3, 2)],
    "sigmoid of rows": lambda g, x: [g.add("Sigmoid", g.rows(x, 1, -1, 1))],
    "rows and their sigmoid": lambda g, x: (lambda rows: [rows, g.add("Sigmoid", rows)])(g.rows(x, 0, -1, 11)),
    "a convolution of one channel": lambda g, x: [g.conv(g.conv(x, 11, 1, k=1), 1, 1)],
    "maps that others read too": lambda g, x: (lambda y: [x, y, g.conv(y, 4, 9)])(g.conv(x, 11, 4)),
    "maps put together": lambda g, x: [g.conv(g.add("Concat", x, g.conv(x, 11, 5), x, axis=1), 27, 6)],
    "maps put together, and kept": lambda g, x: [g.add("Concat", g.conv(x, 11, 3), g.add("Relu", x), axis=-3), x],
    "an exponential of a map": lambda g, x: [g.conv(g.add("Exp", g.conv(x, 11, 5)), 5, 6)],
    "rows after rows": lambda g, x: [
        g.add("Concat", g.rows(x, 0, -1, 2), g.rows(g.conv(x, 11, 4, stride=2), 0, -1, 2), g.rows(x, 0, -1, 2), axis=1)
    ],
    "columns beside columns": lambda g, x: [g.add("Concat", g.rows(x, 0, -1, 11), g.rows(x, 0, -1, 11), axis=-1)],
    "columns of rows": lambda g, x: (lambda rows: [columns(g, rows, 2, 7), columns(g, rows, -3, 2**63 - 1)])(
        g.rows(x, 0, -1, 11)
    ),
    "softmax": lambda g, x: [g.add("Softmax", g.rows(x, 0, -1, 11), axis=2)],
    "softmax of far numbers": lambda g, x: [
        g.add("Softmax", g.add("Mul", g.rows(x, 0, -1, 2), np.float32(300)), axis=-1)
    ],
    "an exponential of rows": lambda g, x: [g.add("Exp", g.add("Div", g.rows(x, 0, -1, 3), np.float32([1, 2, 3])))],
    "a sigmoid of joined rows": lambda g, x: [
        g.add("Sigmoid", g.add("Concat", g.rows(x, 0, -1, 2), g.rows(x, 0, -1, 2), axis=1))
    ],
    "rows minus rows": lambda g, x: (
        lambda a, b: [g.add("Sub", a, b), g.add("Sub", g.add("Div", a, np.float32(2)), g.add("Mul", b, np.float32(3)))]
    )(g.rows(x, 0, -1, 11), g.rows(g.conv(x, 11, 11), 0, -1, 11)),
    "rows and constants": lambda g, x: [
        g.add(
            "Add", g.add("Mul", g.add("Sub", np.float32(2), g.rows(x, 0, -1, 3)), numbers(g, 1, 1760, 3)), numbers(g, 3)
        ),
        g.add("Mul", g.rows(x, 0, -1, 5), numbers(g, 1056, 1)),
    ],
    "targets from sizes": lambda g, x: [
        g.add(
            "Reshape",
            last(g, x),
            g.add("Concat", size_of(g, last(g, x), 0), *(np.array([d]) for d in (-1, 11)), axis=0),
        ),
        g.add("Reshape", last(g, x), g.add("Concat", np.array([1, -1]), tail(g, g.add("Shape", x), 2, 3), axis=0)),
    ],
    "heads of one map": lambda g, x: [
        *(g.add("Sigmoid", g.rows(branch(g, x, 1), 0, -1, 1)) for _ in range(2)),
        *(g.rows(branch(g, x, channels), 0, -1, channels) for channels in (4, 10, 60)),
        g.rows(branch(g, x, 4, k=5, pad=2), 0, -1, 2),
        g.rows(branch(g, x, 2), 0, -1, 4),
    ],
    "heads that others read": lambda g, x: (
        lambda a, b: [g.rows(a, 0, -1, 3), a, g.rows(b, 0, -1, 3), g.conv(b, 3, 2), g.rows(branch(g, x, 3), 0, -1, 3)]
    )(branch(g, x, 3), branch(g, x, 3)),
    "a vector": lambda g, x: [
        g.add("Gemm", g.add("Flatten", x), g.rand.standard_normal((11 * 480, 4)).astype(np.float32)),
        g.conv(x, 11, 2),
    ],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_operators(name: str, rand: np.random.Generator, tmp_path: Path, isa: str) -> None:
    g = Graph(rand, (24, 20))
    path = g.save(tmp_path / "g.onnx", *GRAPHS[name](g, g.add("Relu", g.conv("data", 3, 11))))
    x = rand.standard_normal((1, 3, 24, 20)).astype(np.float32)
    network = Network(path, threads=1, isa=isa)
    want = reference(path, x)
    assert_same(network.run(x), want)
    assert network.input_size == (24, 20)
    assert network.outputs() == {output: value.shape[1:] for output, value in want.items()}


def test_any_size_many_at_a_time(rand: np.random.Generator, tmp_path: Path, isa: str) -> None:
    g = Graph(rand)
    x = g.add("Relu", g.conv("data", 3, 16, stride=2))
    small = pool(g, g.conv(x, 16, 16, k=1), kernel_shape=[2, 2], strides=[2, 2])
    merged = g.add("Add", x, upscale(g, small, [2, 2], **ASYMMETRIC))
    path = g.save(tmp_path / "g.onnx", g.rows(g.conv(merged, 16, 4), 0, -1, 4), g.conv(small, 16, 3))
    network = Network(path, threads=2, isa=isa)
    assert network.input_size is None
    sizes = [(4, 4), (64, 8), (36, 100), (200, 148), (8, 8), (12, 64), (4, 4)]
    images = [rand.standard_normal((3, 3, *size)).astype(np.float32) for size in sizes]
    wanted = [reference(path, x) for x in images]
    for x, want in zip(images, wanted, strict=True):
        assert_same(network.run(x), want)
    with ThreadPoolExecutor(5) as threads:
        for _ in range(4):
            for got, want in zip(threads.map(network.run, images), wanted, strict=True):
                assert_same(got, want)
    memory = network.memory
    assert memory["sizes"] == memory["most_sizes"] == 4
    assert memory["weights"] == 4 * Network(path, threads=1).memory["weights"]
    assert memory["per_thread"] < 4 << 20
    assert memory["file"] == path.stat().st_size


def test_pixels_are_normalised_as_declared(rand: np.random.Generator, tmp_path: Path) -> None:
    for colour in ("rgb", "bgr"):
        g = Graph(rand)
        metadata = {"vultus.mean": "1 2 3", "vultus.std": "4 5 6", "vultus.colour": colour}
        network = Network(g.save(tmp_path / "g.onnx", g.conv("data", 3, 5), metadata=metadata), threads=1)
        pixels = rand.integers(0, 256, (2, 9, 14, 3), np.uint8)
        planes = pixels[..., :: 1 if colour == "bgr" else -1].astype(np.float32)
        planes = ((planes - [1, 2, 3]) / [4, 5, 6]).transpose(0, 3, 1, 2).astype(np.float32)
        assert_same(network.run(pixels), network.run(np.ascontiguousarray(planes)), 1e-5)
        assert network.normalisation == {"mean": (1, 2, 3), "std": (4, 5, 6), "colour": colour}


@pytest.mark.parametrize("size", [(320, 320), (32, 32), (64, 416), (480, 640), (736, 96), (1280, 32)])
def test_yunet(size: tuple[int, int], registry: Registry, rand: np.random.Generator, isa: str) -> None:
    path = registry.resolve(Config().models.detector).path
    x = rand.integers(0, 256, (1, 3, *size)).astype(np.float32)
    network = Network(path, threads=1, isa=isa)
    assert_same(network.run(x), reference(path, x))
    pixels = np.ascontiguousarray(x.astype(np.uint8).transpose(0, 2, 3, 1))
    assert_same(network.run(pixels), network.run(x), 1e-6)
    assert network.layers(size)[0].startswith("planar conv 3x3/2 3x")


@pytest.mark.parametrize(("name", "size"), [("slim-320", (240, 320)), ("RFB-320", (240, 320)), ("RFB-640", (480, 640))])
def test_ultra_light(name: str, size: tuple[int, int], rand: np.random.Generator, isa: str) -> None:
    """As published: with the decoding of boxes, whose priors are constants for one size."""
    path = Path(__file__).parents[3] / "shared" / "models" / f"version-{name}.onnx"
    if not path.exists():
        pytest.skip(f"needs {path}")
    x = rand.uniform(-1, 1, (1, 3, *size)).astype(np.float32)
    network = Network(path, threads=1, isa=isa)
    assert network.input_size == size
    assert_same(network.run(x), reference(path, x), 1e-5)
    with pytest.raises(ValueError, match="cannot be"):
        network.run(np.zeros((1, 3, 128, 96), np.float32))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda g: g.add("Resize", "data", "", np.float32([1, 1, 2, 2]), mode="linear"), "interpolates"),
        (lambda g: upscale(g, "data", [1.5, 2]), "whole number of times"),
        (lambda g: upscale(g, "data", [2, 2], coordinate_transformation_mode="asymmetric"), "chooses pixels"),
        (lambda g: pool(g, "data", kernel_shape=[3, 3], dilations=[2, 2]), "dilation"),
        (lambda g: pool(g, "data", kernel_shape=[2, 2], pads=[2, 0, 0, 0]), "padded by its kernel"),
        (lambda g: g.add("Transpose", "data", perm=[0, 1, 3, 2]), "moving the channels"),
        (lambda g: g.add("Transpose", "data", perm=[0, 2, 3, 1]), "wants it reshaped"),
        (lambda g: g.add("Relu", g.rows("data", 0, -1, 3)), "transposed or reshaped"),
        (lambda g: g.rows("data", 0, -1, 7), "n x rows x columns"),
        (lambda g: g.add("Softplus", "data"), "Softplus is not one of the engine's"),
        (lambda g: g.add("Softmax", "data", axis=1), "something else than n x rows x columns"),
        (lambda g: g.add("Softmax", g.rows("data", 0, -1, 3), axis=1), "over something else than the columns"),
        (lambda g: g.add("Softmax", g.rows("data", 0, -1, 3)), "over something else than the columns"),
        (lambda g: g.add("Concat", "data", "data", axis=2), "another axis than channels"),
        (lambda g: g.add("Concat", "data", g.rows("data", 0, -1, 3), axis=1), "put together"),
        (lambda g: g.add("Concat", "data", pool(g, "data", kernel_shape=[2, 2]), axis=1), "put together"),
        (lambda g: g.add("Concat", *["data"] * 9, axis=1), "more than 8 inputs"),
        (lambda g: g.add("Concat", last(g, "data"), last(g, "data"), axis=3), "transposed and not reshaped"),
        (lambda g: columns(g, g.rows("data", 0, -1, 3), 2, 1), "columns 2 to 2 of 3"),
        (lambda g: g.add("Slice", "data", *(np.array([k]) for k in (0, 2, 1))), "something else than n x rows"),
        (lambda g: g.add("Mul", g.rows("data", 0, -1, 3), numbers(g, 7, 3)), "does not broadcast to its rows"),
        (lambda g: g.add("Mul", g.rows("data", 0, -1, 3), g.rows("data", 0, -1, 3)), "two computed values"),
        (lambda g: g.add("Add", g.rows("data", 0, -1, 3), g.rows("data", 0, -1, 1)), "an addition of"),
        (lambda g: g.add("Gather", "data", np.array(0)), "wants a constant there"),
        (lambda g: g.add("Reshape", last(g, "data"), size_of(g, "data", 4)), "takes a number that is not there"),
        (lambda g: g.add("Cast", "data", to=TensorProto.DOUBLE), "changes the type"),
        (lambda g: g.add("Identity", "data"), "not computed by the graph|is the input"),
    ],
)
def test_refused(build: Callable[[Graph], str], words: str, rand: np.random.Generator, tmp_path: Path) -> None:
    g = Graph(rand)
    with pytest.raises(ModelFormatError, match=words) as caught:
        Network(g.save(tmp_path / "g.onnx", build(g)), threads=1)
    assert caught.value.offset is None or 0 < caught.value.offset < (tmp_path / "g.onnx").stat().st_size


def test_sizes_that_cannot_be(rand: np.random.Generator, tmp_path: Path) -> None:
    g = Graph(rand)
    x = g.conv("data", 3, 8)
    small = upscale(g, pool(g, x, kernel_shape=[2, 2], strides=[2, 2]), [2, 2], **ASYMMETRIC)
    network = Network(g.save(tmp_path / "any.onnx", g.add("Add", x, small)), threads=1)
    with pytest.raises(ModelFormatError, match=r"an addition of 8 x 9 x 8 and 8 x 8 x 8") as caught:
        network.run(np.zeros((1, 3, 9, 8), np.float32))
    assert caught.value.offset
    network.run(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match="say which"):
        network.outputs()
    g = Graph(rand, (16, 24))
    fixed = Network(g.save(tmp_path / "fixed.onnx", g.conv("data", 3, 8)), threads=1)
    with pytest.raises(ValueError, match="is 16 x 24 pixels and cannot be 24 x 16"):
        fixed.run(np.zeros((1, 3, 24, 16), np.float32))


def test_arguments(rand: np.random.Generator, tmp_path: Path) -> None:
    g = Graph(rand)
    path = g.save(tmp_path / "g.onnx", g.conv("data", 3, 8))
    network = Network(path, threads=1)
    assert "any size -> 1 outputs" in repr(network)
    for wrong, error in (
        ([], TypeError),
        (np.zeros((1, 3, 8, 8)), TypeError),
        (np.zeros((3, 8, 8), np.float32), ValueError),
        (np.zeros((1, 4, 8, 8), np.float32), ValueError),
        (np.zeros((1, 3, 8, 8), np.uint8), ValueError),
        (np.zeros((1, 3, 0, 8), np.float32), ValueError),
        (np.zeros((1, 3, 1, 8193), np.float32), ValueError),
        (np.zeros((1, 3, 8, 16), np.float32)[..., ::2], ValueError),
    ):
        with pytest.raises(error):
            network.run(wrong)  # type: ignore[arg-type]
    (empty,) = network.run(np.zeros((0, 3, 8, 8), np.float32)).values()
    assert empty.shape == (0, 8, 8, 8)
    path.write_bytes(b"EFM3" + bytes(100))
    with pytest.raises(ModelFormatError, match="an EFM3 file is an embedder") as caught:
        Network(path)
    assert caught.type is ModelFormatError
    with pytest.raises(ValueError, match="threads is 257"):
        Network(path, threads=257)
    with pytest.raises(FileNotFoundError):
        Network(tmp_path / "missing.onnx")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of numpy's threads
def test_after_a_fork(rand: np.random.Generator, tmp_path: Path) -> None:
    g = Graph(rand)
    network = Network(g.save(tmp_path / "g.onnx", g.conv("data", 3, 8)), threads=1)
    child = os.fork()
    if child == 0:
        try:
            network.run(np.zeros((1, 3, 8, 8), np.float32))
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_profile(rand: np.random.Generator, tmp_path: Path) -> None:
    g = Graph(rand)
    path = g.save(tmp_path / "model.onnx", g.conv(g.conv("data", 3, 8), 8, 16))
    network = Network(path, threads=1)
    profile = network.profile((32, 48), batch=2, rounds=2)
    assert [layer.text for layer in profile[1:-1]] == list(network.layers((32, 48)))
    assert [layer.macs for layer in profile] == [0, 27 * 8 * 32 * 48, 72 * 16 * 32 * 48, 0]
    assert all(layer.seconds > 0 for layer in profile)
    with pytest.raises(ValueError, match="say which"):
        network.profile()

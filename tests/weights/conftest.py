"""A package index on disk with one small model in it, and the published files of the real models."""

import hashlib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus.weights import Registry
from vultus.weights.disk import locked, matches, write_atomically
from vultus.weights.fetch import Fetcher
from vultus.weights.manifest import Manifest, shipped
from vultus.weights.onnx_fold import fold

METADATA = {"vultus.colour": "bgr", "vultus.mean": "1,2,3", "vultus.name": "tiny", "vultus.std": "4,5,6"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def quantised_model(rng: np.random.Generator) -> bytes:
    """A convolution whose weights are int8 in blocks of 4, as OpenCV's model zoo writes them."""
    arrays = {
        "q": rng.integers(-128, 128, (8, 12), dtype=np.int8),
        "s": rng.uniform(0.01, 0.1, (8, 3)).astype(np.float32),
        "z": rng.integers(-5, 6, (8, 3), dtype=np.int8),
        "shape": np.array([8, 3, 2, 2], np.int64),
        "out": np.array([1, -1, 8], np.int64),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=1, block_size=4),
        helper.make_node("Reshape", ["d", "shape"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[2, 2]),
        helper.make_node("Dropout", ["c"], ["e"]),
        helper.make_node("Transpose", ["e"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "out"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 961, 8])
    listed = helper.make_tensor_value_info("q", TensorProto.INT8, [8, 12])  # weights are listed as inputs there too
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", [x, listed], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rand: np.random.Generator) -> SimpleNamespace:
    """pip sees nothing but a folder with the wheel `tinymodel`, which holds the model `tiny` and a photograph."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))

    source, photo = quantised_model(rand), rand.integers(0, 256, 3000, np.uint8).tobytes()
    wheel = index / "tinymodel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tinymodel/tiny_bq.onnx", source)
        file.writestr("tinymodel/who.jpg", photo)
        file.writestr("tinymodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
        file.writestr("tinymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tinymodel-1.0.dist-info/RECORD", "")
    runtime = fold(source, metadata=METADATA, free_size=True)
    archive = wheel.read_bytes()
    tree = {
        "format": 1,
        "archives": {
            "w": {
                "package": "tinymodel",
                "version": "1.0",
                "form": "wheel",
                "sha256": sha256(archive),
                "bytes": len(archive),
            }
        },
        "models": {
            "tiny": {
                "title": "a test model",
                "kind": "detector",
                "family": "yunet",
                "licence": "MIT",
                "commercial": True,
                "origin": "here",
                "input_size": [32, 32],
                "colour": "bgr",
                "mean": [1.0, 2.0, 3.0],
                "std": [4.0, 5.0, 6.0],
                "importer": "onnx-fold",
                "source": {"sha256": sha256(source), "bytes": len(source)},
                "runtime": {"sha256": sha256(runtime), "bytes": len(runtime)},
                # Port 1 of this machine: nobody listens there, and no test asks the network for anything.
                "sources": [
                    {"archive": "w", "member": "tinymodel/tiny_bq.onnx"},
                    {"url": "https://127.0.0.1:1/tiny_bq.onnx"},
                ],
            }
        },
        "samples": {
            "who.jpg": {
                "person": "Nobody",
                "author": "Noise",
                "licence": "Public domain",
                "origin": "https://example.org/who",
                "source": {"archive": "w", "member": "tinymodel/who.jpg"},
                "sha256": sha256(photo),
                "bytes": len(photo),
            }
        },
    }

    def manifest() -> Manifest:
        return msgspec.convert(tree, type=Manifest)

    return SimpleNamespace(
        data=tmp_path / "data",
        index=index,
        wheel=wheel,
        source=source,
        runtime=runtime,
        photo=photo,
        tree=tree,
        manifest=manifest,
        registry=lambda: Registry(tmp_path / "data", manifest()),
    )


@pytest.fixture(scope="session")
def published(data_home: Path) -> dict[str, Path]:
    """The default models as published, block-quantised, by name; kept between runs."""
    folder = data_home / "published"
    files = {}
    with locked(folder), Fetcher(shipped().archives) as fetcher:
        for name, entry in shipped().models.items():
            if entry.importer != "onnx-fold":
                continue
            files[name] = folder / f"{name}.onnx"
            if not (files[name].is_file() and matches(files[name], entry.source.sha256, entry.source.bytes)):
                write_atomically(files[name], fetcher.get(name, entry.sources, entry.source, lambda step, share: None))
    return files

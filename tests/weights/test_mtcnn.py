"""MTCNN's networks from a state dict, against the same layers in plain NumPy, as PyTorch computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus.native import Network
from vultus.weights import Registry, checkpoint, mtcnn
from vultus.weights.errors import ImportFailed

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "P-Net": {"conv1": (10, 3, 3, 3), "conv2": (16, 10, 3, 3), "conv3": (32, 16, 3, 3)},
    "R-Net": {"conv1": (28, 3, 3, 3), "conv2": (48, 28, 3, 3), "conv3": (64, 48, 2, 2), "dense4": (128, 576)},
    "O-Net": {
        "conv1": (32, 3, 3, 3),
        "conv2": (64, 32, 3, 3),
        "conv3": (64, 64, 3, 3),
        "conv4": (128, 64, 2, 2),
        "dense5": (256, 1152),
    },
}
POOLS = {"P-Net": (2, 0, 0), "R-Net": (3, 3, 0), "O-Net": (3, 3, 2, 0)}
HEADS = {
    "P-Net": {"conv4_1": (2, 32, 1, 1), "conv4_2": (4, 32, 1, 1)},
    "R-Net": {"dense5_1": (2, 128), "dense5_2": (4, 128)},
    "O-Net": {"dense6_1": (2, 256), "dense6_2": (4, 256), "dense6_3": (10, 256)},
}


def state(net: str, rand: np.random.Generator) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, shape in (SHAPES[net] | HEADS[net]).items():
        found[f"{name}.weight"] = rand.normal(0, 1.4 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        found[f"{name}.bias"] = rand.normal(0, 0.2, shape[0]).astype(np.float32)
    for number, shape in enumerate(SHAPES[net].values(), start=1):
        found[f"prelu{number}.weight"] = rand.uniform(0, 0.5, shape[0]).astype(np.float32)
    return found


def windows(x: np.ndarray, k: tuple[int, int]) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(x, k, axis=(2, 3))


def conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    out = np.einsum("nchwij,ocij->nohw", windows(x, weight.shape[2:]), weight, optimize=True)
    return np.asarray(out + bias[:, None, None])


def pool(x: np.ndarray, k: int) -> np.ndarray:
    """PyTorch's, of stride 2 with ceil_mode: what a last window lacks is left out."""
    more = [(side - k) % 2 for side in x.shape[2:]]
    padded = np.pad(x, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), constant_values=-np.inf)
    return np.asarray(windows(padded, (k, k))[:, :, ::2, ::2].max(axis=(4, 5)))


def prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.where(x < 0, x * slope.reshape(-1, *[1] * (x.ndim - 2)), x)


def forward(net: str, w: dict[str, np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    w = {name: value.astype(np.float64) for name, value in w.items()}
    for number, name in enumerate(SHAPES[net], start=1):
        if name.startswith("conv"):
            x = conv(x, w[f"{name}.weight"], w[f"{name}.bias"])
        else:
            x = x.transpose(0, 3, 2, 1).reshape(len(x), -1) @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        x = prelu(x, w[f"prelu{number}.weight"])
        if name.startswith("conv") and (side := POOLS[net][number - 1]):
            x = pool(x, side)
    heads = []
    for name in HEADS[net]:
        weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        heads.append(conv(x, weight, bias) if weight.ndim == 4 else x @ weight.T + bias)
    power = np.exp(heads[0] - heads[0].max(axis=1, keepdims=True))
    heads[0] = (power / power.sum(axis=1, keepdims=True))[:, 1:]
    return heads


@pytest.mark.parametrize("net", SHAPES)
def test_computes_what_the_layers_say(net: str, tmp_path: Path, rand: np.random.Generator) -> None:
    weights = state(net, rand)
    assert mtcnn.net_of(weights) == net
    path = tmp_path / "net.onnx"
    path.write_bytes(mtcnn.to_onnx(weights))
    network = Network(path, threads=1)
    for size in ((12, 12), (37, 58)) if network.input_size is None else (network.input_size,):
        x = rand.uniform(-1, 1, (2, 3, *size)).astype(np.float32)
        given = network.run(x)
        for (name, ours), theirs in zip(given.items(), forward(net, weights, x.astype(np.float64)), strict=True):
            assert ours.shape == theirs.shape, name
            assert np.abs(ours - theirs).max() < 1e-5 * max(1, np.abs(theirs).max()), name


def test_other_weights_are_refused(rand: np.random.Generator) -> None:
    with pytest.raises(ImportFailed, match="not the weights of a network of MTCNN"):
        mtcnn.to_onnx({"conv1.weight": np.zeros((10, 3, 3, 3), np.float32)})
    weights = state("R-Net", rand)
    with pytest.raises(ImportFailed, match=r"dense4.weight has the shape \(128, 100\)"):
        mtcnn.to_onnx(weights | {"dense4.weight": np.zeros((128, 100), np.float32)})
    with pytest.raises(ImportFailed, match="dense5_1 makes 3 numbers"):
        mtcnn.to_onnx(weights | {"dense5_1.weight": np.zeros((3, 128), np.float32), "dense5_1.bias": np.zeros(3)})
    del weights["conv2.bias"]
    with pytest.raises(ImportFailed, match=r"no conv2\.bias"):
        mtcnn.to_onnx(weights)


def test_pulled_with_what_it_needs(mtcnn_registry: Registry) -> None:
    """The published weights, and that nothing else but the manifest's bytes comes out of them (`pull` compares)."""
    model = mtcnn_registry.resolve("mtcnn", "detector")
    assert (model.family, model.needs) == ("mtcnn", ("mtcnn_rnet", "mtcnn_onet"))
    for name in (model.name, *model.needs):
        assert mtcnn_registry.resolve(name).commercial


def test_a_checkpoint_is_told_by_its_first_bytes() -> None:
    assert checkpoint.is_checkpoint(b"PK\x03\x04")
    assert checkpoint.is_checkpoint(b"\x80\x02")
    assert not checkpoint.is_checkpoint(b"\x08\x04\x12")

"""State dicts and ONNX files become files that the engine runs, and compute what they computed."""

import efm3_reference as efm3_files
import numpy as np
import onnx
import pytest
import torch_file
from efm3_reference import Layer, Shape
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from vultus.native import Engine, ModelFormatError, Network
from vultus.weights.convert import convert
from vultus.weights.errors import ImportFailed
from vultus.weights.onnx_heads import cut

PAPER_STAGES = ((2, 5, 2), (4, 1, 2), (2, 6, 1), (4, 1, 2), (2, 2, 1))
SMALL = Shape(stem=8, block=16, final=32, dim=24, stages=PAPER_STAGES)
TOLERANCE = 1.3e-5


def state_of(layers: list[Layer], *, linear: bool = False, one_slope: bool = False) -> dict[str, np.ndarray]:
    """A state dict with names of no meaning, and a classifier behind."""
    state = {}
    for at, layer in enumerate(layers):
        weight = layer.weight
        state[f"net.{3 * at}.weight"] = weight[:, :, 0, 0] if linear and at == len(layers) - 1 else weight
        for name, part in zip(("weight", "bias", "running_mean", "running_var"), layer.norm, strict=True):
            state[f"net.{3 * at + 1}.{name}"] = part
        state[f"net.{3 * at + 1}.num_batches_tracked"] = np.array(5, np.int64)
        if layer.slope is not None:
            if one_slope:
                layer.slope[:] = layer.slope[0]
            state[f"net.{3 * at + 2}.weight"] = layer.slope[:1] if one_slope else layer.slope
    state["classifier.weight"] = np.zeros((100, 24), np.float32)
    return state


@pytest.mark.parametrize("kind", [{}, {"linear": True}, {"one_slope": True}])
def test_a_mobilefacenet_checkpoint_computes_the_same(kind, tmp_path, rand):
    layers = efm3_files.make_layers(SMALL, rand)
    torch_file.save(tmp_path / "m.pth", state_of(layers, **kind), around=lambda state: {"epoch": 1, "model": state})
    made = convert(tmp_path / "m.pth", ".bin")
    assert made.family == "MobileFaceNet"
    (tmp_path / "m.bin").write_bytes(made.data)
    x = rand.uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32)
    wanted = efm3_files.compute(layers, x)
    assert np.abs(Engine(tmp_path / "m.bin").embed(x) - wanted).max() < TOLERANCE
    (tmp_path / "m.onnx").write_bytes(convert(tmp_path / "m.pth", ".onnx").data)
    assert np.abs(Engine(tmp_path / "m.onnx").embed(x) - wanted).max() < TOLERANCE


def test_a_mobilefacenet_for_112x96_becomes_onnx(tmp_path, rand):
    layers = efm3_files.make_layers(SMALL, rand)
    layers[-2].weight = layers[-2].weight[:, :, :, :6].copy()
    torch_file.save(tmp_path / "m.pth", state_of(layers))
    (tmp_path / "m.onnx").write_bytes(convert(tmp_path / "m.pth", ".onnx").data)
    engine = Engine(tmp_path / "m.onnx")
    assert engine.input_size == (112, 96)
    x = rand.uniform(-1, 1, (2, 3, 112, 96)).astype(np.float32)
    assert np.abs(engine.embed(x) - efm3_files.compute(layers, x)).max() < TOLERANCE


@pytest.mark.parametrize("stages", [PAPER_STAGES, ((1, 1, 2), (3, 2, 2), (2, 1, 1), (3, 1, 2))])
def test_efm3_becomes_onnx_and_efm3_again(stages, tmp_path, rand):
    shape = Shape(stem=8, block=16, final=24, dim=16, stages=stages)
    layers = efm3_files.make_layers(shape, rand)
    data = efm3_files.write(shape, layers)
    (tmp_path / "given.bin").write_bytes(data)
    (tmp_path / "m.onnx").write_bytes(convert(tmp_path / "given.bin", ".onnx").data)
    made = convert(tmp_path / "m.onnx", ".bin").data
    assert made[8:24] == data[8:24]
    (tmp_path / "m.bin").write_bytes(made)
    x = rand.uniform(-1, 1, (1, 3, 112, 112)).astype(np.float32)
    assert np.abs(Engine(tmp_path / "m.bin").embed(x) - efm3_files.compute(layers, x)).max() < TOLERANCE


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda layers: layers.pop(5), "5 layers and 3 for each block"),
        (lambda layers: setattr(layers[3], "slope", None), "block 0, dw lacks a PReLU"),
        (
            lambda layers: setattr(layers[-2], "weight", layers[-2].weight[:, :, :6]),
            "6x7, for pictures of 96x112; EFM3 is for 112x112 only",
        ),
        (lambda layers: layers.__delitem__(slice(2, 5)), "only those of the paper's network are known"),
    ],
)
def test_what_efm3_cannot_express_is_told(spoil, told, tmp_path, rand):
    layers = efm3_files.make_layers(SMALL, rand)
    spoil(layers)
    torch_file.save(tmp_path / "m.pth", state_of(layers))
    with pytest.raises(ImportFailed, match=rf"m\.pth: .*{told}"):
        convert(tmp_path / "m.pth", ".bin")


def iresnet(
    rand: np.random.Generator, blocks: tuple[int, ...], widths: tuple[int, ...], dim: int
) -> dict[str, np.ndarray]:
    """The state dict of a narrow iResNet with the names of MagFace's."""
    state: dict[str, np.ndarray] = {}

    def conv(name: str, c_in: int, c_out: int, k: int) -> None:
        weight = rand.standard_normal((c_out, c_in, k, k)) / (c_in * k * k) ** 0.5
        state[f"{name}.weight"] = weight.astype(np.float32)

    def norm(name: str, c: int) -> None:
        bounds = {"weight": (0.8, 1.2), "bias": (-0.2, 0.2), "running_mean": (-0.2, 0.2), "running_var": (0.7, 1.3)}
        state.update({f"{name}.{part}": rand.uniform(*bound, c).astype(np.float32) for part, bound in bounds.items()})
        state[f"{name}.num_batches_tracked"] = np.array(1, np.int64)

    def prelu(name: str, c: int) -> None:
        state[f"{name}.weight"] = rand.uniform(0.1, 0.4, c).astype(np.float32)

    conv("conv1", 3, widths[0], 3)
    norm("bn1", widths[0])
    prelu("prelu", widths[0])
    c_in = widths[0]
    for stage, (count, c) in enumerate(zip(blocks, widths, strict=True), start=1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            norm(f"{name}.bn1", c_in)
            conv(f"{name}.conv1", c_in, c, 3)
            norm(f"{name}.bn2", c)
            prelu(f"{name}.prelu", c)
            conv(f"{name}.conv2", c, c, 3)
            norm(f"{name}.bn3", c)
            if not block:
                conv(f"{name}.downsample.0", c_in, c, 1)
                norm(f"{name}.downsample.1", c)
            c_in = c
    norm("bn2", c_in)
    state["fc.weight"] = (rand.standard_normal((dim, c_in * 49)) / (c_in * 49) ** 0.5).astype(np.float32)
    state["fc.bias"] = rand.uniform(-0.1, 0.1, dim).astype(np.float32)
    norm("features", dim)
    return state


@pytest.mark.parametrize("prefix", ["", "module.", "features.module."])
def test_a_magface_checkpoint_gives_embeddings_and_their_length(prefix, tmp_path, rand):
    state = {prefix + name: array for name, array in iresnet(rand, (1, 2, 1, 1), (8, 8, 16, 16), 32).items()}
    state["fc.weight" if prefix else "head.weight"] = np.zeros((32, 50), np.float32)  # the classifier of the training
    torch_file.save(
        tmp_path / "m.pth", state, legacy=bool(prefix), around=lambda state: {"state_dict": state, "epoch": 24}
    )
    made = convert(tmp_path / "m.pth", ".onnx")
    assert made.family == "iResNet"
    (tmp_path / "m.onnx").write_bytes(made.data)
    chips = rand.integers(0, 256, (2, 112, 112, 3), np.uint8)
    engine = Engine(tmp_path / "m.onnx")
    x = np.ascontiguousarray(chips.transpose(0, 3, 1, 2), np.float32) / 255  # blue first, 0..1
    (wanted,) = ReferenceEvaluator(onnx.load(tmp_path / "m.onnx")).run(None, {"data": x})
    assert wanted.shape == (2, 32)
    raw = engine.embed(x, normalize=False)
    np.testing.assert_allclose(raw, wanted, atol=1e-4 * np.abs(wanted).max())
    np.testing.assert_allclose(
        engine.embed_chips(chips), wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=TOLERANCE
    )


def test_a_resnet_without_a_stage_or_as_efm3_is_told(tmp_path, rand):
    state = iresnet(rand, (1, 1, 1, 1), (8, 8, 8, 8), 16)
    torch_file.save(tmp_path / "m.pth", state)
    with pytest.raises(ImportFailed, match=r"EFM3 is for MobileFaceNets.* \.onnx"):
        convert(tmp_path / "m.pth", ".bin")
    torch_file.save(tmp_path / "m.pth", {name: array for name, array in state.items() if not name.startswith("layer3")})
    with pytest.raises(ImportFailed, match=r"no layer3\.0\.conv1\.weight"):
        convert(tmp_path / "m.pth", ".onnx")
    torch_file.save(tmp_path / "m.pth", state | {"layer2.0.conv1.weight": np.zeros((8, 9, 3, 3), np.float32)})
    (tmp_path / "m.onnx").write_bytes(convert(tmp_path / "m.pth", ".onnx").data)
    with pytest.raises(ModelFormatError, match="channels"):
        Engine(tmp_path / "m.onnx")


def test_another_network_is_told(tmp_path):
    torch_file.save(tmp_path / "m.pth", {"encoder.weight": np.zeros((4, 4), np.float32)})
    with pytest.raises(ImportFailed, match=r"encoder\.weight.*export the network to ONNX"):
        convert(tmp_path / "m.pth", ".onnx")


def test_the_slim_detector_equals_the_published_graph(shared, tmp_path, rand):
    """The weights of a published ONNX file under the names of its checkpoint give that file, cut at its heads."""
    published = shared / "models" / "version-slim-320.onnx"
    graph = onnx.load(published).graph
    torch_file.save(tmp_path / "m.pth", {t.name: numpy_helper.to_array(t) for t in graph.initializer})
    made = convert(tmp_path / "m.pth", ".onnx")
    assert made.family == "Ultra-Light"
    (tmp_path / "ours.onnx").write_bytes(made.data)
    (tmp_path / "theirs.onnx").write_bytes(cut(published.read_bytes()))
    x = rand.uniform(-1, 1, (1, 3, 101, 67)).astype(np.float32)
    ours, theirs = (Network(tmp_path / f"{name}.onnx", threads=1).run(x) for name in ("ours", "theirs"))
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6)

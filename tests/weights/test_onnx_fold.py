"""Folding computes what the quantised graph says, always with the same bytes, and the result runs everywhere."""

import hashlib

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from vultus.weights import ImportFailed
from vultus.weights.manifest import shipped
from vultus.weights.onnx_fold import fold

YUNET, SFACE = "yunet_2023mar", "sface_2021dec"


def session(data) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options)


def metadata(name: str) -> dict[str, str]:
    colour = shipped().entry(name).colour
    return {"vultus.name": name, "vultus.colour": colour, "vultus.mean": "0,0,0", "vultus.std": "1,1,1"}


@pytest.mark.parametrize("name", [YUNET, SFACE])
def test_the_published_file_becomes_the_bytes_of_the_manifest(published, name):
    data = fold(published[name].read_bytes(), metadata=metadata(name), free_size=name == YUNET)
    wanted = shipped().entry(name).runtime
    assert (len(data), hashlib.sha256(data).hexdigest()) == (wanted.bytes, wanted.sha256)


@pytest.mark.parametrize("name", [YUNET, SFACE])
def test_what_the_runtime_file_holds(registry, name):
    model = onnx.load(registry.resolve(name).path)
    assert {prop.key: prop.value for prop in model.metadata_props} == metadata(name)
    assert len(model.graph.input) == 1
    assert all(tensor.data_type != TensorProto.INT8 for tensor in model.graph.initializer)
    assert not {node.op_type for node in model.graph.node} & {"DequantizeLinear", "Dropout", "Constant"}


@pytest.mark.slow
def test_sface_agrees_with_opencv_on_the_quantised_file(published, registry, samples):
    folder, listed = samples
    detector = cv2.FaceDetectorYN.create(str(published[YUNET]), "", (320, 320), 0.7)
    peer = cv2.FaceRecognizerSF.create(str(published[SFACE]), "")
    ours = session(registry.resolve(SFACE).path)
    chips, wanted = [], []
    for sample in listed:
        image = cv2.imread(str(folder / sample.file))
        detector.setInputSize(image.shape[1::-1])
        for face in detector.detect(image)[1]:
            chips.append(peer.alignCrop(image, face))
            wanted.append(peer.feature(chips[-1])[0])
    assert len(chips) >= 12
    wanted = np.stack(wanted)
    rgb = np.stack(chips)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    found = ours.run(None, {"data": rgb})[0]
    cosines = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() > 0.9999, cosines


def test_yunet_agrees_with_opencv_on_the_quantised_file(published, registry, samples):
    image = cv2.imread(str(samples[0] / "t1.jpg"))
    # The published file fixes 640 x 640.
    blob = cv2.resize(image, (640, 640)).transpose(2, 0, 1)[None].astype(np.float32)
    peer = cv2.dnn.readNetFromONNX(str(published[YUNET]))
    peer.setInput(blob)
    ours = session(registry.resolve(YUNET).path)
    names = [output.name for output in ours.get_outputs()]
    assert names == [f"{head}_{stride}" for head in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
    for name, wanted, found in zip(names, peer.forward(names), ours.run(names, {"input": blob}), strict=True):
        assert found.shape == wanted.shape
        # Two engines add up in different orders; heads reach 10, so this is the sixth digit or so.
        np.testing.assert_allclose(found, wanted, atol=2e-4, rtol=1e-4, err_msg=name)
    assert (ours.run(["cls_8"], {"input": blob})[0].max()) > 0.5, "a picture of faces without a face"


def test_yunet_is_close_to_the_unquantised_original(shared, registry, samples):
    """What quantisation cost: the confidences of six faces differ by some hundredths."""
    blob = cv2.resize(cv2.imread(str(samples[0] / "t1.jpg")), (640, 640)).transpose(2, 0, 1)[None].astype(np.float32)
    ours, original = session(registry.resolve(YUNET).path), session(shared / "models" / "yunet_2023mar.onnx")
    for stride in (8, 16, 32):
        names = [f"cls_{stride}", f"obj_{stride}"]
        found, wanted = (np.prod(one.run(names, {"input": blob}), axis=0) for one in (ours, original))
        assert np.abs(found - wanted).max() < 0.06


@pytest.mark.parametrize(("count", "height", "width"), [(1, 32, 32), (1, 640, 640), (1, 352, 640), (3, 96, 160)])
def test_yunet_takes_any_multiple_of_32_and_several_pictures(registry, rand, count, height, width):
    ours = session(registry.resolve(YUNET).path)
    x = rand.integers(0, 256, (count, 3, height, width)).astype(np.float32)
    together = ours.run(None, {"input": x})
    for output, values in zip(ours.get_outputs(), together, strict=True):
        stride = int(output.name.rpartition("_")[2])
        size = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}[output.name.partition("_")[0]]
        assert values.shape == (count, height // stride * (width // stride), size)
    for number in range(count):
        alone = ours.run(None, {"input": x[number : number + 1]})
        for values, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(values[number : number + 1], single, atol=1e-3)


def dequantise(shape, axis, block, dtype, zero, rng) -> tuple[bytes, np.ndarray]:
    """A graph `x + DequantizeLinear(constants)`, and what ONNX's reference evaluator makes of it for x = 0."""
    info = np.iinfo(dtype)
    scales = list(shape)
    if block:
        scales[axis] = -(-shape[axis] // block)
    elif block is None:
        scales = [shape[axis]]
    else:
        scales = []
    arrays = {
        "q": rng.integers(info.min, info.max + 1, shape, dtype),
        "s": rng.uniform(0.001, 1, scales).astype(np.float32),
    }
    if zero:
        arrays["z"] = rng.integers(info.min, info.max + 1, scales, dtype)
    nodes = [
        helper.make_node("DequantizeLinear", list(arrays), ["d"], axis=axis, block_size=block or 0),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in "xy"]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": np.zeros(shape, np.float32)})
    return model.SerializeToString(), wanted


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis", "block"),
    [
        ((6, 8), 1, 4),
        ((8, 3), 0, 2),
        ((12,), 0, 3),
        ((4, 6, 2), 1, 3),
        ((4, 6), 0, None),
        ((4, 6), 1, None),
        ((4, 6), 1, 0),
    ],
)
def test_dequantising_is_exactly_what_onnx_defines(shape, axis, block, zero, dtype, rand):
    data, wanted = dequantise(shape, axis, block, dtype, zero, rand)
    model = onnx.load_from_string(fold(data, metadata={}, free_size=False))
    (found,) = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)


def test_a_short_last_block(rand):
    data, _ = dequantise((2, 8), 1, 4, np.int8, True, rand)
    model = onnx.load_from_string(data)
    q, s, z = (numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(q[:, :7], "q"))
    folded = onnx.load_from_string(fold(model.SerializeToString(), metadata={}, free_size=False))
    wanted = (q[:, :7].astype(np.float32) - np.repeat(z, 4, 1)[:, :7]) * np.repeat(s, 4, 1)[:, :7]
    np.testing.assert_array_equal(numpy_helper.to_array(folded.graph.initializer[0]), wanted)


def test_what_cannot_be_folded_is_refused(rand):
    data, _ = dequantise((2, 8), 1, 4, np.int8, True, rand)
    model = onnx.load_from_string(data)
    model.graph.node[0].input[0] = "x"
    with pytest.raises(ImportFailed, match="quantised activations are not supported"):
        fold(model.SerializeToString(), metadata={}, free_size=False)
    model = onnx.load_from_string(data)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones((2, 3), np.float32), "s"))
    with pytest.raises(ImportFailed, match=r"scales \(2, 3\) for blocks of 4 in \(2, 8\)"):
        fold(model.SerializeToString(), metadata={}, free_size=False)
    with pytest.raises(ImportFailed, match="not an ONNX file"):
        fold(b"\xff" * 100, metadata={}, free_size=False)

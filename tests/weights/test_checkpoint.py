"""PyTorch checkpoints: read in both layouts, never run, refused when damaged."""

import contextlib
import pickle
import zipfile

import numpy as np
import pytest
import torch_file

from vultus.weights import checkpoint
from vultus.weights.errors import ImportFailed


@pytest.fixture
def weights(rand: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "conv.weight": rand.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "bn.running_mean": rand.standard_normal(4).astype(np.float16),
        "bn.weight": rand.standard_normal(4),
        "bn.num_batches_tracked": np.array(7, np.int64),
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "net": {"state_dict": s}, "best": [1.5, None]}])
def test_both_layouts(legacy, wrap, weights, tmp_path):
    torch_file.save(tmp_path / "m.pth", weights, legacy=legacy, around=wrap)
    found = checkpoint.read(tmp_path / "m.pth")
    assert list(found) == list(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array.astype(found[name].dtype))
    assert found["bn.weight"].dtype == np.float32
    assert found["bn.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_the_file_is_run(legacy, weights, tmp_path):
    target = tmp_path / "touched"
    torch_file.save(tmp_path / "m.pth", weights, legacy=legacy, evil=("os", "system", (f"touch {target}",)))
    assert len(checkpoint.read(tmp_path / "m.pth")) == len(weights)
    assert not target.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_damaged_file_is_refused_or_read(legacy, weights, tmp_path, rand):
    """Whatever byte is changed or cut off: the weights, or one error, and never more memory than the file's size."""
    path = tmp_path / "m.pth"
    torch_file.save(path, weights, legacy=legacy)
    whole = path.read_bytes()
    for _ in range(300):
        data = bytearray(whole)
        data[rand.integers(len(data))] = rand.integers(256)
        path.write_bytes(data[: rand.integers(len(data))] if rand.random() < 0.3 else data)
        with contextlib.suppress(ImportFailed):
            for array in checkpoint.read(path).values():
                assert array.nbytes <= 8 * len(whole)


def test_what_is_no_checkpoint(weights, tmp_path):
    path = tmp_path / "m.pth"
    for data, told in (
        (b"", "not a PyTorch checkpoint"),
        (b"\x80\x02K\x01.", "not a PyTorch checkpoint"),
        (pickle.dumps({"a": 1}), "not a PyTorch checkpoint"),
    ):
        path.write_bytes(data)
        with pytest.raises(ImportFailed, match=told):
            checkpoint.read(path)
    torch_file.save(path, {})
    with pytest.raises(ImportFailed, match="without weights"):
        checkpoint.read(path)
    torch_file.save(path, weights | {"bad": np.array([np.nan], np.float32)})
    with pytest.raises(ImportFailed, match="bad holds numbers that are not finite"):
        checkpoint.read(path)


def test_a_compressed_member_is_refused(weights, tmp_path):
    torch_file.save(tmp_path / "m.pth", weights)
    with (
        zipfile.ZipFile(tmp_path / "m.pth") as archive,
        zipfile.ZipFile(tmp_path / "z.pth", "w", zipfile.ZIP_DEFLATED) as z,
    ):
        for name in archive.namelist():
            z.writestr(name, archive.read(name))
    with pytest.raises(ImportFailed, match="compressed"):
        checkpoint.read(tmp_path / "z.pth")


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    path = tmp_path / "m.pth"
    torch_file.save(path, {"w": np.arange(6, dtype=np.float32).reshape(2, 3)})
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        program = archive.read("model/data.pkl")
        numbers = archive.read("model/data/0")
    shape = b"K\x02K\x03\x86"  # (2, 3)
    assert program.count(shape) == 1
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", program.replace(shape, b"K\x02K\x04\x86"))
        archive.writestr("model/data/0", numbers)
    assert data != path.read_bytes()
    with pytest.raises(ImportFailed, match="larger than its storage"):
        checkpoint.read(path)


@pytest.mark.parametrize("name", ["version-slim-640.pth", "mobilefacenet_casia_112x96_068.ckpt"])
def test_files_of_real_trainers(name, shared):
    found = checkpoint.read(shared / "models" / name)
    assert len(found) > 150
    assert next(iter(found.values())).shape[1:] == (3, 3, 3)

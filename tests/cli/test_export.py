"""`vultus models export`: the new file is tried before it is kept."""

from pathlib import Path

import efm3_reference as efm3_files
import numpy as np
import torch_file
from cli_process import Run

SHAPE = efm3_files.Shape(
    stem=8, block=16, final=32, dim=24, stages=((2, 5, 2), (4, 1, 2), (2, 6, 1), (4, 1, 2), (2, 2, 1))
)


def checkpoint(path: Path, rand: np.random.Generator) -> None:
    state = {}
    for at, layer in enumerate(efm3_files.make_layers(SHAPE, rand)):
        state[f"{3 * at}.weight"] = layer.weight
        for name, part in zip(("weight", "bias", "running_mean", "running_var"), layer.norm, strict=True):
            state[f"{3 * at + 1}.{name}"] = part
        if layer.slope is not None:
            state[f"{3 * at + 2}.weight"] = layer.slope
    torch_file.save(path, state)


def test_a_checkpoint_becomes_a_file_that_verifies(vultus: Run, tmp_path: Path, rand: np.random.Generator) -> None:
    checkpoint(tmp_path / "m.pth", rand)
    answer = vultus("models", "export", tmp_path / "m.pth", "--to", tmp_path / "m.bin", "--json").json
    assert answer["family"] == "MobileFaceNet"
    assert 0 < answer["largest"] < 1.3e-5
    assert answer["bytes"] == (tmp_path / "m.bin").stat().st_size
    vultus("models", "verify", tmp_path / "m.bin", "--against", tmp_path / "m.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.pth"]


def test_what_cannot_be_exported_is_told(vultus: Run, tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(b"\x80\x02K\x01.")
    said = vultus("models", "export", tmp_path / "m.pth", "--to", tmp_path / "m.bin", code=2).err
    assert "m.pth: not a PyTorch checkpoint" in said
    (tmp_path / "notes.txt").write_text("no model")
    said = vultus("models", "export", tmp_path / "notes.txt", "--to", tmp_path / "m.bin", code=2).err
    assert "notes.txt: neither a PyTorch checkpoint" in said
    (tmp_path / "notes.txt").unlink()
    said = vultus("models", "export", tmp_path / "m.pth", "--to", tmp_path / "m.txt", code=2).err
    assert ".bin for EFM3 or .onnx for ONNX" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pth"]

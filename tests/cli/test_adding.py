"""`vultus models add`: a model of the user's own, from the trial to the gallery that it fills."""

import re
from pathlib import Path
from typing import Any

import pytest
from cli_process import Run

CONTRACT = ("--colour", "rgb", "--mean", "127.5", "--std", "128")


@pytest.fixture
def home(tmp_path: Path, data_home: Path, registry: object, samples: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own with the default models and the photographs."""
    for name in ("models", "samples"):
        (tmp_path / name).mkdir()
        for path in (data_home / name).iterdir():
            if path.suffix in (".onnx", ".jpg", ".md"):
                (tmp_path / name / path.name).symlink_to(path)
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_an_added_model_is_tried_shown_used_and_removed(
    vultus: Run, home: Path, shared: Path, samples: tuple[Path, Any]
) -> None:
    file = shared / "models" / "mobilefacenet_foamliu_128.onnx"
    assert "give --colour" in vultus("models", "add", file, code=2).err
    assert "licence is not accepted" in vultus("models", "add", file, *CONTRACT, code=2).err
    mirrored = ("--colour", "rgb", "--mean", "20000", "--std", "1", "--licence", "MIT")
    refused = vultus("models", "add", file, *mirrored, code=2).err
    assert re.search(r"for one person; with --colour \w+ --mean", refused)
    told = vultus("models", "add", file, *CONTRACT, "--name", "mine", "--licence", "Apache-2.0").out
    assert re.search(r"person_a_1.jpg +person_a_2.jpg +one person", told)
    assert "is mine already" in vultus("models", "add", file, *CONTRACT, code=2).err
    assert vultus("models", "show", "mine", "--json").json["own"]
    config = home / "c.yaml"
    config.write_text(f"gallery: {home / 'g'}\nmodels: {{embedder: mine}}\n")
    vultus("people", "enrol", "Ada", samples[0] / "person_b_1.jpg", "--config", config)
    assert "Ada" in vultus("query", samples[0] / "person_b_2.jpg", "--config", config).out
    vultus("models", "remove", "mine")
    assert "no model is called 'mine'" in vultus("query", samples[0] / "person_b_2.jpg", "--config", config, code=2).err


@pytest.mark.slow
def test_what_cannot_be_added_says_why(vultus: Run, home: Path, shared: Path) -> None:
    checkpoint = shared / "models" / "mobilefacenet_casia_112x96_068.ckpt"
    assert "vultus models export" in vultus("models", "add", checkpoint, code=2).err
    assert "112x112, or 112x96" in vultus("models", "add", checkpoint, "--size", "200x200", code=2).err


@pytest.mark.slow
def test_a_checkpoint_for_112x96_is_exported_tried_and_added(vultus: Run, home: Path, shared: Path) -> None:
    vultus("models", "export", shared / "models" / "mobilefacenet_casia_112x96_068.ckpt", "--to", home / "m.onnx")
    assert "give --size 112x96" in vultus("models", "add", home / "m.onnx", "--licence", "MIT", code=2).err
    told = vultus("models", "add", home / "m.onnx", "--licence", "MIT", "--size", "112x96", "--json").json
    assert told["name"] == "m"


@pytest.mark.slow
def test_a_detector_has_to_find_what_the_default_one_finds(vultus: Run, home: Path) -> None:
    file = home / "models" / "yunet_2023mar.onnx"
    added = ("models", "add", file, "--kind", "detector", "--name", "mine", "--licence", "MIT")
    assert "not an SCRFD detector" in vultus(*added, "--family", "scrfd", code=2).err
    told = vultus(*added, "--family", "yunet", "--json").json
    assert told["trial"][-1] == {"file": "t1.jpg", "expected": 6, "found": 6, "same": 6}
    assert vultus("models", "show", "mine", "--json").json["kind"] == "detector"

"""Pulling, and that nothing but the manifest's bytes is ever handed out."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from vultus.weights import FetchFailed, ModelMissing, ModelRefused, Registry, disk


def test_pull_then_resolve(world):
    registry, seen = world.registry(), []
    (model,) = registry.pull(["tiny"], progress=lambda *step: seen.append(step))
    assert model == registry.resolve("tiny", "detector")
    assert model.path.read_bytes() == world.runtime
    assert model.fingerprint == f"tiny-{world.tree['models']['tiny']['runtime']['sha256'][:12]}"
    assert (model.input_size, model.colour, model.mean, model.std) == ((32, 32), "bgr", (1, 2, 3), (4, 5, 6))
    assert [step for _, step, _ in seen] == ["fetching package tinymodel 1.0 (wheel)", "converting", "ready"]


def test_what_is_there_is_not_fetched_again(world):
    world.registry().pull(["tiny"])
    world.wheel.unlink()
    world.registry().pull(["tiny", "tiny"])


def test_missing(world):
    registry = world.registry()
    with pytest.raises(ModelMissing, match="`vultus models pull tiny` fetches it"):
        registry.resolve("tiny")
    assert isinstance(ModelMissing(), FileNotFoundError)
    assert [check.state for check in registry.verify()] == ["missing"]
    assert [row.state for row in registry.status()] == ["missing"]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "longer", "empty", "another model"])
def test_a_file_that_is_not_the_manifests_never_resolves_and_is_fetched_anew(world, damage, rand):
    registry = world.registry()
    path = registry.pull(["tiny"])[0].path
    data = bytearray(path.read_bytes())
    if damage == "flipped bit":
        data[rand.integers(0, len(data))] ^= 1 << rand.integers(0, 8)
    elif damage == "truncated":
        del data[rand.integers(1, len(data)) :]
    elif damage == "longer":
        data += b"\0"
    elif damage == "empty":
        data.clear()
    else:
        data = bytearray(world.source)
    path.write_bytes(data)
    with pytest.raises(ModelRefused, match="`vultus models pull tiny` fetches the right one"):
        registry.resolve("tiny")
    assert [check.state for check in registry.verify(["tiny"])] == ["wrong"]
    assert [row.state for row in registry.status()] == ["wrong"]
    registry.pull(["tiny"])
    assert registry.resolve("tiny").path.read_bytes() == world.runtime


def test_the_wrong_kind(world):
    registry = world.registry()
    registry.pull(["tiny"])
    with pytest.raises(ModelRefused, match="tiny is of the kind detector, not embedder"):
        registry.resolve("tiny", "embedder")


def test_an_archive_with_another_hash_is_refused_by_pip_before_it_is_opened(world):
    with world.wheel.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(FetchFailed) as caught:
        world.registry().pull(["tiny"])
    assert "package tinymodel 1.0 (wheel): pip's index has another file under this name" in str(caught.value)


def test_a_member_with_another_hash_is_refused(world):
    world.tree["models"]["tiny"]["source"]["sha256"] = "0" * 64
    with pytest.raises(FetchFailed, match="the manifest says 000000000000"):
        world.registry().pull(["tiny"])
    assert world.registry().verify()[0].state == "missing"


def test_a_conversion_that_gives_other_bytes_is_refused(world):
    world.tree["models"]["tiny"]["mean"] = [7.0, 7.0, 7.0]  # goes into the file
    with pytest.raises(ModelRefused, match=r"tiny: onnx [\d.]+ converts it to other bytes than the manifest's"):
        world.registry().pull(["tiny"])
    assert world.registry().verify()[0].state == "missing"


def test_offline_names_each_source_why_it_failed_and_the_way_out(world):
    world.wheel.unlink()
    with pytest.raises(FetchFailed) as caught:
        world.registry().pull(["tiny"])
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(
        "tiny: no source could be used. package tinymodel 1.0 (wheel): pip's index does not have it; "
    )
    assert "https://127.0.0.1:1/tiny_bq.onnx: [Errno 111] Connection refused" in text
    assert text.endswith("With tiny_bq.onnx in a folder DIR: `vultus models pull tiny --from DIR`")
    assert isinstance(caught.value, OSError)


@pytest.mark.slow
def test_an_index_that_cannot_be_reached_is_said_so_without_its_password(world, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:hunter2@127.0.0.1:1/simple")
    with pytest.raises(FetchFailed, match="pip cannot reach its index") as caught:
        world.registry().pull(["tiny"])
    assert "hunter2" not in str(caught.value)


def test_a_python_without_pip_is_told_the_remedy(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(FetchFailed, match=r"this Python has no pip .*-m ensurepip.*uv pip install pip"):
        world.registry().pull(["tiny"])


@pytest.mark.parametrize("kind", ["published file", "archive", "runtime file"])
def test_from_a_folder(world, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    folder = tmp_path / "stick"
    folder.mkdir()
    if kind == "published file":
        (folder / "tiny_bq.onnx").write_bytes(world.source)
    elif kind == "archive":
        shutil.copy(world.wheel, folder)
    else:
        (folder / "tiny.onnx").write_bytes(world.runtime)
    world.registry().pull(["tiny"], from_dir=folder)
    assert world.registry().resolve("tiny").path.read_bytes() == world.runtime


def test_from_a_folder_without_it_or_with_something_else(world, tmp_path):
    folder = tmp_path / "stick"
    with pytest.raises(FetchFailed, match="stick is not a folder"):
        world.registry().pull(["tiny"], from_dir=folder)
    folder.mkdir()
    with pytest.raises(FetchFailed, match=r"stick holds no tiny_bq\.onnx$"):
        world.registry().pull(["tiny"], from_dir=folder)
    (folder / "tiny_bq.onnx").write_bytes(world.source[:-1])
    with pytest.raises(FetchFailed, match=r"tiny_bq\.onnx: SHA-256 is [0-9a-f]{12}…, the manifest says"):
        world.registry().pull(["tiny"], from_dir=folder)


PULL = """
import sys
from pathlib import Path
from vultus.weights import Registry
print("started", flush=True)
sys.stdin.readline()
Registry(Path(sys.argv[1])).pull(["sface_2021dec", "yunet_2023mar"], from_dir=Path(sys.argv[2]))
"""


def test_processes_that_pull_at_once_and_one_that_is_killed(registry, tmp_path):
    """38 MB each time, so that they do overlap. The killed one may hold the lock and half a file."""
    ready = registry.resolve("sface_2021dec").path.parent
    command = [sys.executable, "-c", PULL, str(tmp_path), str(ready)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "started\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    part, whole = tmp_path / "models" / ".sface_2021dec.onnx.part", tmp_path / "models" / "sface_2021dec.onnx"
    deadline = time.monotonic() + 60
    while not (part.exists() or whole.exists()):
        assert time.monotonic() < deadline
    os.kill(workers[0].pid, signal.SIGKILL)
    results = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers[1:]] == [0, 0], results
    mine = Registry(tmp_path)
    assert [check.state for check in mine.verify(["yunet_2023mar", "sface_2021dec"])] == ["ok", "ok"]
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        ".lock",
        "sface_2021dec.onnx",
        "yunet_2023mar.onnx",
    ]


FULL = """
import resource, sys
from pathlib import Path
from vultus.weights import Registry
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    Registry(Path(sys.argv[1])).pull(["sface_2021dec"], from_dir=Path(sys.argv[2]))
except OSError as error:
    print(error)
"""


def test_a_disk_that_cannot_take_it(registry, tmp_path):
    """The system refuses files above 1 MB, which is how a full disk looks to the writer."""
    command = [sys.executable, "-c", FULL, str(tmp_path), str(registry.resolve("sface_2021dec").path.parent)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"[Errno 27] File too large: '{tmp_path}/models/sface_2021dec.onnx'\n"
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_all_that_are_missing_are_named(tmp_path):
    with pytest.raises(ModelMissing, match="`vultus models pull yunet_2023mar sface_2021dec` fetches them"):
        Registry(tmp_path).need("yunet_2023mar", "sface_2021dec", "yunet_2023mar")


def test_who_waits_says_for_whom(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(disk, "_PATIENCE", 0.1)
    held, done = threading.Event(), threading.Event()

    def other():
        with disk.locked(tmp_path):
            held.set()
            assert done.wait(30)

    holder = threading.Thread(target=other)
    holder.start()
    assert held.wait(30)

    class Handler(logging.Handler):
        def emit(self, record):
            done.set()

    handler = Handler()
    logging.getLogger("vultus.weights").addHandler(handler)
    try:
        with disk.locked(tmp_path):
            pass
    finally:
        logging.getLogger("vultus.weights").removeHandler(handler)
        holder.join()
    assert f"waiting for process {os.getpid()}" in caplog.text

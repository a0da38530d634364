"""Who may import whom: the table of ARCHITECTURE.md, and the files that hold the third-party borders."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "configs": set(),
    "native": set(),
    "weights": {"native"},
    "index": {"configs"},
    "pipeline": {"configs"},
    "stages": {"configs", "native", "weights", "index", "pipeline"},
    "evaluation": {"weights"},
    "client": set(),
    "jobs": {"configs", "weights", "index", "pipeline", "stages"},
    "server": {"jobs", "configs", "native", "weights", "index", "pipeline", "stages", "evaluation"},
    "cli": {"configs", "native", "weights", "index", "pipeline", "stages", "evaluation", "jobs", "server"},
}
# Of `pipeline`, a stage knows what it is handed and how it is composed, not how it travels.
STAGES_MAY_USE = {"messages", "stage", "errors", "frames", "pixels", "chain"}
BORDER_FILES = {"zmq": 1, "faiss": 2, "av": 1, "onnxruntime": 1, "psycopg": 1, "h5py": 1, "scipy": 1, "paho": 1}


@cache
def nodes(path: Path) -> list[ast.AST]:
    """A file's syntax, read once for all tests."""
    return list(ast.walk(ast.parse(path.read_text(), str(path))))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth of the code, as a dotted name."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(part: str) -> list[Path]:
    found = sorted((ROOT / part).glob("**/*.py"))
    return [path for path in found if "tests" not in path.relative_to(ROOT).parts]


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_it_may(part: str) -> None:
    assert sources(part), f"{part} holds no file"
    wrong = []
    for path in sources(part):
        for name in imports(path):
            if name.startswith("vultus."):
                other = name.split(".")[1]
                if other != part and other not in MAY_IMPORT[part]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            elif name.split(".")[0] in MAY_IMPORT:
                wrong.append(f"{path.relative_to(ROOT)} imports the bare name {name}")
    assert not wrong, "\n".join(wrong)


def test_stages_see_only_the_contract_of_the_pipeline() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("stages")
        for name in imports(path)
        if name.startswith("vultus.pipeline.") and name.split(".")[2] not in STAGES_MAY_USE
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", sorted(BORDER_FILES))
def test_a_third_party_border_is_no_longer_than_said(library: str) -> None:
    holders = {
        path.relative_to(ROOT).as_posix()
        for part in MAY_IMPORT
        for path in sources(part)
        if any(name.split(".")[0] == library for name in imports(path))
    }
    assert len(holders) == BORDER_FILES[library], f"{library} is imported by {sorted(holders)}"


def test_only_the_configuration_loader_reads_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for part in MAY_IMPORT
        for path in sources(part)
        for node in nodes(path)
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "getenv")
            and getattr(node.value, "id", "") == "os"
        )
    }
    assert readers <= {"configs/loader.py"}


def test_files_stay_short() -> None:
    parts = [*MAY_IMPORT, "tests", "benchmarks"]
    endings = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".inc"}
    long = {
        f"{path.relative_to(ROOT)}: {lines}"
        for part in parts
        for path in (ROOT / part).glob("**/*")
        if path.suffix in endings and (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long


def test_a_stage_process_loads_only_what_it_needs() -> None:
    """Every second of a start is waited for by a user, several times over: there are many processes."""
    code = (
        "import sys, vultus.pipeline.worker\n"
        "from vultus.configs.schema import Config\n"
        "from vultus.stages.registry import build\n"
        "for name in ('decode', 'detect', 'track', 'align'): build(name, Config())\n"
        "print(*sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(answer.stdout.split())
    assert {"numpy", "zmq", "vultus.stages.decode"} <= loaded
    unwanted = {
        "av",
        "PIL",
        "faiss",
        "onnx",
        "onnxruntime",
        "yaml",
        "urllib.request",
        "ssl",
        "tarfile",
        "importlib.metadata",
    }
    assert not unwanted & loaded

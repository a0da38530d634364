"""The API's examples of docs/server.md do what the page says."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from string import Template
from typing import Any

import httpx
import pytest

from vultus.server.services import Services

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
SECTION = PAGE.split("## API\n")[1].split("\n## ")[0]
EXAMPLES = re.findall(r"^    \$ (curl .*)$", SECTION, re.MULTILINE)
PHOTOS = {"ada-1.jpg": "person_b_1.jpg", "ada-2.jpg": "person_b_2.jpg", "group.jpg": "t1.jpg"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are curl's, which is not installed")
def test_every_example_answers(address: str, services: Services, samples: tuple[Path, Any], tmp_path: Path) -> None:
    for name, sample in PHOTOS.items():
        (tmp_path / name).symlink_to(samples[0] / sample)
    unknown = services.gallery.unknowns.people()[0]
    known = {"api": f"{address}/api/v1", "unknown": str(unknown.id), "face": str(unknown.best_face)}
    answers = list[Any]()
    for example in EXAMPLES:
        command = [Template(word).substitute(known) for word in shlex.split(example, comments=True)]
        done = subprocess.run(
            [*command, "-sS", "--fail-with-body"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}{done.stdout}"
        answers.append(json.loads(done.stdout) if done.stdout else None)
        if "photos=@" in example:
            known["person"] = str(answers[-1]["person"]["identity"])
    assert len(EXAMPLES) == 19
    told = dict(zip(EXAMPLES, answers, strict=True))
    (compared,) = [answer for example, answer in told.items() if "/compare" in example]
    assert compared["pairs"][0]["match"]
    (found,) = [answer for example, answer in told.items() if "people?q=" in example]
    assert [one["name"] for one in found["items"]] == ["Ada Lovelace"]
    assert (tmp_path / "ada.zip").read_bytes()[:2] == b"PK"


def test_the_paths_that_the_page_names_are_there(client: httpx.Client) -> None:
    named = set(re.findall(r"`(/[a-z][a-zA-Z/]*)`", SECTION)) | set(re.findall(r"\$api(/[a-z/]+)", SECTION))
    described = "\n".join(client.get("/api/v1/openapi.json").json()["paths"])
    assert {"/detect", "/acts", "/people/NUMBER/merge"} <= named
    for path in named - {"/api/v1"}:
        assert re.search(path.rstrip("/").replace("NUMBER", r"\{[a-z_]+\}"), described), path

"""`vultus sightings`: a cursor that misses nothing, filters, following, deletion; and what `watch` says at its end."""

import base64
import json
import re
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_process import COMMAND, Run
from click.testing import CliRunner

from vultus.cli.pruning import pruning
from vultus.cli.reasons import Reasons
from vultus.cli.sightings import sightings
from vultus.configs.schema import Config, Retention
from vultus.index import Gallery, Shot, Sighting
from vultus.pipeline.metrics import Counters, WorkerMetrics
from vultus.stages.chip import chip_jpeg


def put(folder: Path, *sightings: tuple[int, str, float], name: str | None = None) -> list[int]:
    with Gallery.open(folder) as gallery:
        identity = gallery.enrol(name, [[1.0, 0.0]]) if name else None
        return gallery.add_sightings(
            [
                Sighting(
                    run="r", source=source, track=track, time=at, identity=identity, similarity=0.5, box=(1, 2, 3, 4)
                )
                for track, source, at in sightings
            ]
        )


def test_from_a_cursor_on_and_filtered(vultus: Run, tmp_path: Path) -> None:
    first = put(tmp_path / "g", (1, "hall", 1e9), (2, "door", 1e9 + 1), name="Anna")
    second = put(tmp_path / "g", (3, "hall", 1e9 + 2))
    given = ("--gallery", tmp_path / "g", "--json")
    every = vultus("sightings", *given).lines
    assert [one["number"] for one in every] == [*first, *second]
    assert [one["name"] for one in every] == ["Anna", "Anna", None]
    assert every[0]["time"] == "2001-09-09T01:46:40.000Z"
    assert every[0]["box"] == [1, 2, 3, 4]
    assert [one["number"] for one in vultus("sightings", *given, "--since", first[0]).lines] == [first[1], *second]
    assert [one["track"] for one in vultus("sightings", *given, "--source", "hall").lines] == [1, 3]
    assert [one["track"] for one in vultus("sightings", *given, "--person", "Anna", "--limit", 1).lines] == [1]
    assert "Bert" in vultus("sightings", *given, "--person", "Bert", code=2).err


def test_follow_prints_what_comes(tmp_path: Path) -> None:
    put(tmp_path / "g", (1, "hall", 1e9))
    command = [*COMMAND, "sightings", "--gallery", str(tmp_path / "g"), "--follow", "--every", "0.05", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["track"] == 1
        put(tmp_path / "g", (2, "hall", 1e9))
        assert json.loads(process.stdout.readline())["track"] == 2
        process.terminate()


def test_what_is_old_is_deleted(vultus: Run, tmp_path: Path) -> None:
    old = put(tmp_path / "g", (1, "hall", time.time() - 10 * 86400), (2, "hall", time.time()))
    given = ("--gallery", tmp_path / "g", "--json")
    gone = vultus("gallery", "prune", *given, "--sightings", 7).json
    assert gone == {"shots": 0, "sightings": 1, "strangers": 0, "changes": 0}
    assert [one["number"] for one in vultus("sightings", *given).lines] == [old[1]]


def photographed(folder: Path) -> dict[str, int]:
    """A sighting with a picture of each of three people: one with a name, one who is hidden, and a stranger."""
    picture = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8), (5, 5), 0)
    numbers: dict[str, int] = {}
    with Gallery.open(folder) as gallery:
        for track, name in enumerate(("Anna", "Hidden", "")):
            person = gallery.enrol(name, [np.eye(3)[track]]) if name else None
            seen = Sighting(run="r", source="hall <b>", track=track, time=1e9, identity=person)
            shots = [Shot(jpeg=chip_jpeg(picture), time=1e9, quality=0.5)]
            numbers[name] = gallery.add_sighting(seen, shots)
        gallery.hide("Hidden")
    return numbers


def detail(jpeg: bytes) -> float:
    """How much a picture varies from one pixel to the next."""
    return float(np.abs(np.diff(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 0).astype(float))).mean())


def test_a_page_of_pictures_on_which_some_are_veiled(tmp_path: Path) -> None:
    numbers = photographed(tmp_path / "g")

    def written(name: str, privacy: str, *options: object) -> Path:
        (tmp_path / "c.yaml").write_text(f"privacy: {privacy}\n")
        given = ["--gallery", tmp_path / "g", "--config", tmp_path / "c.yaml", "--out", tmp_path / name, *options]
        done = CliRunner().invoke(sightings, list(map(str, given)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return tmp_path / name

    def veiled(privacy: str) -> list[bool]:
        text = written("page.html", privacy).read_text()
        assert "hall &lt;b&gt;" in text
        assert text.index(f"s{numbers['']}") < text.index(f"s{numbers['Anna']}"), "newest first"
        pictures = re.findall(r"base64,([^\"]+)", text)
        return [detail(base64.b64decode(one)) < 3 for one in reversed(pictures)]

    assert veiled("{}") == [False, True, False]
    assert veiled("{veil: [Anna]}") == [True, True, False]
    assert veiled("{veil_strangers: true}") == [False, True, True]
    assert (tmp_path / "page.html").stat().st_mode & 0o077 == 0
    sheet = written("one.jpg", "{}", "--number", numbers["Anna"])
    assert cv2.imread(str(sheet)).shape == (162, 128, 3)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    put(tmp_path / "g", (1, "hall", 1e9))

    def refused(*options: object) -> str:
        done = CliRunner().invoke(sightings, ["--gallery", str(tmp_path / "g"), *map(str, options)])
        assert done.exit_code
        return str(done.exception) if done.exception and not isinstance(done.exception, SystemExit) else done.output

    assert "does not end like a picture" in refused("--out", tmp_path / "x.txt")
    assert "there is no folder" in refused("--out", tmp_path / "none" / "x.html")
    assert "--follow never ends" in refused("--out", tmp_path / "x.html", "--follow")
    assert "there is no sighting 9" in refused("--number", 9)


def test_why_people_were_not_recognised() -> None:
    def worker(*stages: str, counts: dict[str, int], dropped: dict[str, int] | None = None) -> WorkerMetrics:
        counters = Counters(counts=counts, dropped=dropped or {})
        return WorkerMetrics(
            group=stages[0], worker=0, stages=stages, state="running", pid=1, restarts=0, counters=counters
        )

    found = {"analysed": 90, "no_face": 50, "faces": 60, "too_small": 3, "tracks": 7, "track_turned": 2}
    reasons = Reasons.of(
        [
            worker("detect", "track", counts=found, dropped={"late": 4, "obsolete": 1}),
            worker("embed", "match", counts={"faces": 9, "recognised": 4, "rejoined": 1, "ambiguous": 1}),
        ]
    )
    assert reasons.faces == 60
    assert reasons.lines() == [
        "90 frames analysed, 50 without a face, 4 left out (late)",
        "4 recognised, 1 seen again at once",
        "not recognised: 1 resembles two people alike, 2 turned away, 3 faces below detect.min_face",
    ]


@pytest.mark.slow
def test_watch_says_it_at_its_end(vultus: Run, samples: tuple[Path, object], tmp_path: Path) -> None:
    photo = samples[0] / "person_a_1.jpg"
    answer = vultus("watch", photo, "--gallery", tmp_path / "g", "--json", "--summary")
    sighting, last = answer.lines
    assert sighting["reason"] == "nobody_known"
    assert last["summary"]["nobody"] == {"nobody_known": 1}
    assert "1 while the gallery knew nobody" in answer.err


@pytest.mark.slow
@pytest.mark.parametrize("days", [5.0, None])
def test_old_sightings_go_while_watching(
    tmp_path: Path, days: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "g", (1, "hall", time.time() - 10 * 86400))
    with pruning(Config(gallery=str(tmp_path / "g"), retention=Retention(sightings_days=days))):
        pass
    assert ("deleted because it was old: 1 sighting\n" in capsys.readouterr().err) == (days is not None)
    with Gallery.open(tmp_path / "g") as gallery:
        assert len(gallery.sightings()) == (0 if days else 1)

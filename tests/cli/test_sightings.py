"""`vultus sightings`: a cursor that misses nothing, filters, following, deletion; and what `watch` says at its end."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from cli_process import COMMAND, Run

from vultus.cli.reasons import Reasons
from vultus.index import Gallery, Sighting
from vultus.pipeline.metrics import Counters, WorkerMetrics


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


def test_what_is_old_is_deleted_and_numbers_are_not_used_again(vultus: Run, tmp_path: Path) -> None:
    old = put(tmp_path / "g", (1, "hall", time.time() - 10 * 86400), (2, "hall", time.time()))
    given = ("--gallery", tmp_path / "g", "--json")
    assert vultus("sightings", *given, "--delete-older", 7).json == {"deleted": 1}
    assert [one["number"] for one in vultus("sightings", *given).lines] == [old[1]]
    assert put(tmp_path / "g", (3, "hall", time.time()))[0] > old[1]


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


def test_watch_says_it_at_its_end(vultus: Run, samples: tuple[Path, object], tmp_path: Path) -> None:
    photo = samples[0] / "person_a_1.jpg"
    answer = vultus("watch", photo, "--gallery", tmp_path / "g", "--json", "--summary")
    sighting, last = answer.lines
    assert sighting["reason"] == "nobody_known"
    assert last["summary"]["nobody"] == {"nobody_known": 1}
    assert "1 while the gallery knew nobody" in answer.err


@pytest.mark.parametrize("days", [5.0, None])
def test_old_sightings_go_while_watching(
    vultus: Run, samples: tuple[Path, object], tmp_path: Path, days: float | None
) -> None:
    put(tmp_path / "g", (1, "hall", time.time() - 10 * 86400))
    (tmp_path / "c.yaml").write_text(f"match: {{keep_days: {'null' if days is None else days}}}\n")
    vultus("watch", samples[0] / "person_a_1.jpg", "--gallery", tmp_path / "g", "--config", tmp_path / "c.yaml")
    left = vultus("sightings", "--gallery", tmp_path / "g", "--json").lines
    assert [one["source"] == "hall" for one in left] == ([False] if days else [True, False])

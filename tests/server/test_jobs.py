"""Jobs: archives that are indexed, backups, stopping and going on."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import configured, serving

from vultus.index import Gallery
from vultus.server.jobs.record import OVER, Records
from vultus.server.services import Services
from vultus.server.store import Store


@pytest.fixture(scope="module")
def photos(samples: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of one photograph that is in no gallery yet, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "Somebody").mkdir()
    (folder / "Somebody" / "b.jpg").write_bytes((samples[0] / "person_b_2.jpg").read_bytes())
    (folder / "broken.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def services(gallery: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    own = {"serve.archives.folders": [str(photos)], "serve.backup.keep": 1}
    with Services(configured(tmp_path_factory.mktemp("served"), gallery, own)) as services:
        yield services


def over(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job once it is over."""
    until = time.monotonic() + 60
    while job["state"] not in OVER:
        assert time.monotonic() < until, job
        time.sleep(0.02)
        job = client.get(f"/api/v1/jobs/{job['id']}").raise_for_status().json()
    return job


@pytest.mark.slow
def test_a_folder_is_indexed_and_what_is_refused_is_named(client: httpx.Client, photos: Path) -> None:
    wanted = {"paths": [str(photos)], "label_from_folder": True}
    answer = client.post("/api/v1/jobs/index", json=wanted)
    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/v1/jobs/{answer.json()['id']}")
    job = over(client, answer.json())
    assert (job["state"], job["total"], job["seen"]) == ("done", 2, 2), job
    assert (job["counts"]["done"], job["counts"]["refused"]) == (1, 1)
    (refusal,) = client.get(f"/api/v1/jobs/{job['id']}/refusals").json()["items"]
    assert refusal["source"].endswith("broken.jpg")
    again = over(client, client.post("/api/v1/jobs/index", json=wanted).json())
    assert again["counts"]["already"] == 1


@pytest.mark.slow
def test_an_upload_becomes_a_named_person(client: httpx.Client, photo: bytes) -> None:
    upload = client.post("/api/v1/uploads").json()
    place = f"/api/v1/uploads/{upload['id']}/files"
    assert client.put(f"{place}/a.jpg?person=Ada Lovelace", content=photo).status_code == 204
    assert client.put(f"{place}/a.exe", content=photo).status_code == 415
    assert client.get(f"/api/v1/uploads/{upload['id']}").json()["files"] == 1
    job = client.post("/api/v1/jobs/index", json={"paths": [upload["path"]], "label_from_folder": True}).json()
    assert over(client, job)["counts"]["faces"] == 1
    found = client.post("/api/v1/search?k=1", files={"photo": photo}).json()
    assert found["faces"][0]["matches"][0]["name"] == "Ada Lovelace"
    assert client.delete(f"/api/v1/uploads/{upload['id']}").status_code == 204
    assert client.get(f"/api/v1/uploads/{upload['id']}").status_code == 404


@pytest.mark.slow
def test_folders_are_shown_and_others_are_not(client: httpx.Client, photos: Path, tmp_path: Path) -> None:
    assert client.get("/api/v1/archives").json()["items"] == [str(photos)]
    shown = client.get("/api/v1/archives/folder", params={"path": str(photos)}).json()
    assert (shown["folders"], shown["photos"]) == (["Somebody"], 1)
    (photos / "out").symlink_to("/etc")
    for elsewhere in ("/etc", str(photos / ".." / ".."), str(photos / "out"), "relative", str(tmp_path)):
        assert client.get("/api/v1/archives/folder", params={"path": elsewhere}).status_code == 403, elsewhere
        assert client.post("/api/v1/jobs/index", json={"paths": [elsewhere]}).status_code == 403, elsewhere
    (photos / "out").unlink()
    assert client.get("/api/v1/archives/folder", params={"path": str(photos / "none")}).status_code == 404


def test_what_is_uploaded_stays_where_it_belongs(client: httpx.Client, services: Services) -> None:
    upload = client.post("/api/v1/uploads").json()
    place = f"/api/v1/uploads/{upload['id']}/files"
    assert client.put(f"{place}/..%2F..%2Fx.jpg", content=b"x").status_code in (204, 404, 422)
    assert client.put(f"{place}/x.jpg", params={"person": "../up"}, content=b"x").status_code == 422
    assert client.put("/api/v1/uploads/0000000000000000/files/x.jpg", content=b"x").status_code == 404
    outside = [file for file in services.store.folder.glob("**/x.jpg") if upload["id"] not in file.parts]
    assert not outside


def test_a_backup_can_be_fetched_and_restored(client: httpx.Client, services: Services, tmp_path: Path) -> None:
    job = over(client, client.post("/api/v1/jobs/backup").json())
    assert job["state"] == "done", job
    listed = client.get("/api/v1/backups").json()["items"]
    answer = client.get(f"/api/v1/backups/{listed[0]['name']}")
    (tmp_path / "copy").write_bytes(answer.content)
    Gallery.restore(tmp_path / "copy", tmp_path / "restored")
    with Gallery.open(tmp_path / "restored") as restored:
        assert restored.stats().faces == services.gallery.stats().faces
    (own,) = (services.store.folder / "backups").glob("server-*.db")
    assert own.stat().st_mode & 0o077 == 0
    with sqlite3.connect(own) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert client.delete(f"/api/v1/backups/{listed[0]['name']}").status_code == 204
    assert client.get(f"/api/v1/backups/{listed[0]['name']}").status_code == 404


def test_a_job_that_is_over_cannot_be_stopped_and_one_that_is_not_there_is_said(client: httpx.Client) -> None:
    job = over(client, client.post("/api/v1/jobs/verify").json())
    assert (job["state"], job["note"].endswith("sound")) == ("done", True)
    events = client.get("/api/v1/events", params={"kind": "job", "after": 0}).json()["items"]
    states = [event["details"]["state"] for event in events if event["details"]["job"] == job["id"]]
    assert states == ["queued", "running", "done"]
    assert client.post(f"/api/v1/jobs/{job['id']}/cancel").status_code == 409
    assert client.post(f"/api/v1/jobs/{job['id']}/resume").status_code == 409
    assert client.get("/api/v1/jobs/999999").json()["type"] == "urn:vultus:unknown-job"


def test_what_ran_when_the_server_ended_is_queued_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    records = Records(store)
    first, second, third = (records.add("index", title, "me", {"paths": []}) for title in "abc")
    assert records.next() == records.get(first.id)
    assert records.next() == records.get(second.id)
    assert records.move(second.id, ("running",), "stopping")
    assert not records.move(third.id, ("running",), "stopping")
    records.interrupted()
    assert [job.state for job in records.listed(None, 9)] == ["queued", "cancelled", "queued"]
    store.close()


@pytest.mark.slow
def test_a_stopped_server_goes_on_with_its_job(gallery: Path, photos: Path, tmp_path: Path) -> None:
    config = configured(tmp_path, gallery, {"serve.archives.folders": [str(photos)]})
    with Services(config) as services:
        job = services.jobs.add("index", "archive", "me", {"paths": [str(photos)]})
    with Services(config) as services, serving(services) as address, httpx.Client(base_url=address) as client:
        done = over(client, client.get(f"/api/v1/jobs/{job.id}").json())
        assert (done["state"], done["seen"]) == ("done", 2)


@pytest.mark.slow
def test_backups_are_made_on_schedule(gallery: Path, tmp_path: Path) -> None:
    with Services(configured(tmp_path, gallery, {"serve.backup.every_hours": 1})) as services:
        until = time.monotonic() + 20
        while (job := services.jobs.records.last_of("backup")) is None or job.state not in OVER:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert (job.by, job.state) == ("schedule", "done")

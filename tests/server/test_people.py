"""People over the API: enrolled, renamed, merged, split, hidden, exported, erased, and all of it undone."""

import io
import zipfile

import httpx
import pytest

from vultus.server.services import Services

PEOPLE = "/api/v1/people"


def enrol(client: httpx.Client, name: str, *photos: bytes, **fields: object) -> httpx.Response:
    files = [("photos", (f"{name}.jpg", photo)) for photo in photos]
    return client.post(PEOPLE, data={"name": name, **fields}, files=files)


@pytest.fixture
def ada(client: httpx.Client, photo: bytes) -> int:
    """Ada, enrolled anew by one photograph."""
    answer = enrol(client, "Ada", photo).json()
    identity: int = answer["person"]["identity"]
    return identity


@pytest.fixture(autouse=True)
def forget_ada(client: httpx.Client, services: Services) -> object:
    """Nobody else is there after a test."""
    before = {one.id for one in services.gallery.identities(hidden=None)}
    yield
    for one in services.gallery.identities(hidden=None):
        if one.id not in before:
            services.gallery.remove_identity(one.id)


def test_a_person_is_enrolled_by_a_photo_and_shown(client: httpx.Client, photo: bytes) -> None:
    answer = enrol(client, " Ada ", photo, collection="site")
    assert answer.status_code == 201
    done = answer.json()
    person = client.get(answer.headers["location"]).json()
    assert person == done["person"]
    assert (person["name"], person["faces"], person["hidden"]) == ("Ada", 1, False)
    (enrolled,) = done["enrolled"]
    assert (enrolled["photo"], enrolled["file"], enrolled["known"]) == (0, " Ada .jpg".strip(), False)
    face = client.get(f"/api/v1/faces/{enrolled['face_id']}").json()
    assert (face["identity"], face["name"], face["collection"]) == (person["identity"], "Ada", "site")
    assert face["source"].startswith("upload/")
    assert face["box"] == enrolled["box"]


def test_a_photo_that_comes_again_adds_nothing(client: httpx.Client, photo: bytes) -> None:
    first, again = enrol(client, "Ada", photo, photo), enrol(client, "Ada", photo)
    assert (first.status_code, again.status_code) == (201, 200)
    assert [one["known"] for one in first.json()["enrolled"]] == [False, True]
    assert again.json()["person"]["faces"] == 1
    assert again.json()["enrolled"][0]["face_id"] == first.json()["enrolled"][0]["face_id"]


def test_refused_photos_say_why_and_the_others_are_used(client: httpx.Client, photo: bytes, group: bytes) -> None:
    done = enrol(client, "Ada", b"no picture", group, photo).json()
    assert [one["photo"] for one in done["enrolled"]] == [2]
    unreadable, several = done["refused"]
    assert (unreadable["kind"], several["kind"]) == ("unreadable", "several-faces")
    assert len(several["faces"]) == 6
    nobody = enrol(client, "Eve", group)
    assert (nobody.status_code, nobody.json()["type"]) == (422, "urn:vultus:nobody-enrolled")
    assert nobody.json()["refused"][0]["kind"] == "several-faces"
    (box, *_) = several["faces"]
    chosen = enrol(client, "Eve", group, box=",".join(map(str, box)))
    assert chosen.status_code == 201
    assert chosen.json()["enrolled"][0]["box"] == box
    assert enrol(client, "Eve", group, photo, box="1,1,2,2").status_code == 422


def test_more_photos_of_a_person_by_number(client: httpx.Client, ada: int, group: bytes, photo: bytes) -> None:
    box = client.post("/api/v1/detect", files={"photo": group}).json()["faces"][0]["box"]
    fields = {"data": {"box": ",".join(map(str, box))}, "files": {"photos": group}}
    assert client.post(f"{PEOPLE}/{ada}/faces", **fields).json()["person"]["faces"] == 2
    assert client.post(f"{PEOPLE}/{2**52}/faces", files={"photos": photo}).json()["type"] == "urn:vultus:unknown-person"


def test_renaming_and_hiding(client: httpx.Client, ada: int) -> None:
    assert client.patch(f"{PEOPLE}/{ada}", json={"name": "Ada Lovelace"}).json()["name"] == "Ada Lovelace"
    assert client.patch(f"{PEOPLE}/{ada}", json={"hidden": True}).json()["hidden"]
    taken = client.patch(f"{PEOPLE}/{ada}", json={"name": "Emmanuel Macron"})
    assert (taken.status_code, taken.json()["type"]) == (409, "urn:vultus:name-taken")
    assert client.patch(f"{PEOPLE}/{ada}", json={"name": " "}).status_code == 422
    assert client.patch(f"{PEOPLE}/{ada}", json={"nickname": "A"}).status_code == 422


def test_merge_split_and_undo(client: httpx.Client, ada: int, group: bytes) -> None:
    boxes = [face["box"] for face in client.post("/api/v1/detect", files={"photo": group}).json()["faces"][:2]]
    eve = enrol(client, "Eve", group, box=",".join(map(str, boxes[0]))).json()
    other, face = eve["person"]["identity"], eve["enrolled"][0]["face_id"]
    assert client.post(f"{PEOPLE}/{ada}/merge", json={"others": [other]}).json()["faces"] == 2
    assert client.get(f"{PEOPLE}/{other}").status_code == 404
    (undone,) = client.post("/api/v1/acts/undo", json={}).json()["items"]
    assert (undone["kind"], undone["lost"]) == ("merge", 0)
    assert client.get(f"{PEOPLE}/{ada}").json()["faces"] == 1
    split = client.post(f"{PEOPLE}/{ada}/split", json={"faces": [face]})
    assert split.json()["type"] == "urn:vultus:unknown-face"
    client.post("/api/v1/faces/move", json={"faces": [face], "to": ada})
    answer = client.post(f"{PEOPLE}/{ada}/split", json={"faces": [face], "name": "Eva"})
    assert answer.status_code == 201
    assert client.get(answer.headers["location"]).json()["name"] == "Eva"
    newest = client.get("/api/v1/acts?limit=2").json()["items"]
    assert [act["kind"] for act in newest] == ["split", "move"]
    assert client.post(f"/api/v1/acts/{newest[0]['act']}/undo").json()["undone"]
    assert client.post(f"/api/v1/acts/{newest[0]['act']}/undo").json()["type"] == "urn:vultus:cannot-undo"


def test_who_is_not_whom(client: httpx.Client, ada: int, services: Services) -> None:
    macron = services.gallery.identity("Emmanuel Macron").id
    for _ in range(2):
        assert client.put(f"{PEOPLE}/{ada}/denials/people/{macron}").status_code == 204
    (said,) = client.get(f"{PEOPLE}/{macron}/denials").json()["items"]
    assert {said["identity"], said["other"]} == {ada, macron}
    assert client.delete(f"{PEOPLE}/{ada}/denials/people/{macron}").status_code == 204
    assert client.delete(f"{PEOPLE}/{ada}/denials/people/{macron}").json()["type"] == "urn:vultus:unknown-denial"
    face = services.gallery.faces(macron)[0].id
    assert client.put(f"{PEOPLE}/{ada}/denials/faces/{face}").status_code == 204
    assert client.get("/api/v1/denials").json()["items"][0]["face_id"] == face
    assert client.put(f"{PEOPLE}/{macron}/denials/faces/{face}").json()["type"] == "urn:vultus:denied"
    assert client.delete(f"{PEOPLE}/{ada}/denials/faces/{face}").status_code == 204


def test_two_who_may_be_one_are_told(client: httpx.Client, ada: int) -> None:
    answer = client.get("/api/v1/confusable").json()
    (pair,) = answer["items"]
    assert {pair["name"], pair["other_name"]} == {"Ada", "Emmanuel Macron"}
    assert pair["similarity"] >= answer["threshold"]


def test_all_that_is_held_comes_as_a_zip_file(client: httpx.Client, ada: int) -> None:
    answer = client.get(f"{PEOPLE}/{ada}/export")
    assert answer.headers["content-type"] == "application/zip"
    assert "Ada.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as inside:
        assert inside.testzip() is None
        assert "person.json" in inside.namelist()
    assert client.get(f"{PEOPLE}/{2**52}/export").status_code == 404


def test_erased_is_gone(client: httpx.Client, ada: int, photo: bytes) -> None:
    assert client.delete(f"{PEOPLE}/{ada}").status_code == 204
    assert client.delete(f"{PEOPLE}/{ada}").json()["type"] == "urn:vultus:unknown-person"
    (face,) = client.post("/api/v1/search", files={"photo": photo}).json()["faces"]
    assert ada not in [match["identity"] for match in face["matches"]]


def test_people_are_listed_by_name_and_found_by_a_part_of_it(client: httpx.Client, ada: int) -> None:
    names = [one["name"] for one in client.get(PEOPLE).json()["items"]]
    assert names[0] == "Ada"
    assert len(names) == 5
    pages = [client.get(PEOPLE, params={"limit": 3, "order": "newest"}).json()]
    pages.append(client.get(PEOPLE, params={"limit": 3, "order": "newest", "cursor": pages[0]["next"]}).json())
    assert pages[1]["next"] is None
    listed = [one["name"] for page in pages for one in page["items"]]
    assert (listed[0], sorted(listed)) == ("Ada", sorted(names))
    found = client.get(PEOPLE, params={"q": "ÁDA"}).json()["items"]
    assert [one["identity"] for one in found] == [ada]
    assert client.get(PEOPLE, params={"order": "newest", "cursor": "x"}).status_code == 422
    client.patch(f"{PEOPLE}/{ada}", json={"hidden": True})
    assert [one["identity"] for one in client.get(f"{PEOPLE}?hidden=true").json()["items"]] == [ada]


def test_a_persons_faces_are_listed_the_best_first(client: httpx.Client, ada: int, group: bytes) -> None:
    box = client.post("/api/v1/detect", files={"photo": group}).json()["faces"][0]["box"]
    client.post(f"{PEOPLE}/{ada}/faces", data={"box": ",".join(map(str, box))}, files={"photos": group})
    first = client.get(f"{PEOPLE}/{ada}/faces?limit=1").json()
    second = client.get(f"{PEOPLE}/{ada}/faces", params={"limit": 1, "cursor": first["next"]}).json()
    (best,), (other,) = first["items"], second["items"]
    assert best["quality"] >= other["quality"]
    assert client.get(f"{PEOPLE}/{ada}").json()["best_face"] == best["face_id"]
    assert client.get(f"{PEOPLE}/9999/faces").status_code == 404

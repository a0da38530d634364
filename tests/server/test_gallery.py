"""Figures, collections and the audit log over the API."""

import httpx

from vultus.server.services import Services


def test_figures(client: httpx.Client, services: Services) -> None:
    stats = client.get("/api/v1/gallery").json()
    assert (stats["identities"], stats["faces"], stats["unlabelled"]) == (4, 10, 6)
    assert stats["model"] == services.gallery.model
    assert stats["size_bytes"] > 0


def test_collections(client: httpx.Client, photo: bytes) -> None:
    assert client.get("/api/v1/collections").json() == {"items": [], "next": None}
    client.post("/api/v1/people", data={"name": "Ada", "collection": "site"}, files={"photos": photo})
    assert client.get("/api/v1/collections").json()["items"] == [{"name": "site", "faces": 1, "people": 1}]


def test_searches_are_in_the_audit_log(client: httpx.Client, photo: bytes, services: Services) -> None:
    client.post("/api/v1/search?k=2", files={"photo": photo})
    page = client.get("/api/v1/audit?operation=search&limit=1").json()
    (entry,) = page["items"]
    assert (entry["actor"], entry["operation"], entry["faces"], entry["k"]) == ("local", "search", 1, 2)
    assert services.gallery.identity("Emmanuel Macron").id in entry["people"]
    assert client.get("/api/v1/audit?actor=nobody").json()["items"] == []
    assert client.get("/api/v1/audit?before=2020-01-01T00:00:00Z").json()["items"] == []

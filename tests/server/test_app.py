"""What holds for every route: problems, bounds, health."""

import socket

import httpx
import pytest

from vultus.server.services import Services


def test_health_is_told(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_a_route_that_is_not_there_is_a_problem(client: httpx.Client) -> None:
    answer = client.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {"type": "urn:vultus:not-found", "title": "Not Found", "status": 404, "detail": "Not Found"}


def test_a_request_that_is_not_as_described_says_where(client: httpx.Client) -> None:
    answer = client.post("/api/v1/search?k=0", files={"photo": b"x"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "query.k"


@pytest.mark.parametrize("framing", ["Content-Length: 32000001", "Transfer-Encoding: chunked"])
def test_a_body_beyond_the_limit_is_refused(address: str, services: Services, framing: str) -> None:
    assert services.config.serve.limits.upload_bytes == 32_000_000
    part = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (part, *[bytes(2_000_000)] * 16))
    host, port = address.removeprefix("http://").split(":")
    head = ("POST /api/v1/search HTTP/1.1", f"Host: {host}", "Content-Type: multipart/form-data; boundary=b", framing)
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall("".join(f"{line}\r\n" for line in (*head, "")).encode() + (body if "chunked" in framing else b""))
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_the_description_of_the_api_has_problems_for_every_route(client: httpx.Client) -> None:
    described = client.get("/api/v1/openapi.json").json()
    for path, methods in described["paths"].items():
        for method in methods.values():
            assert not path.startswith("/api/") or "application/problem+json" in str(method["responses"]["422"])


def test_a_method_that_a_path_does_not_know_says_which_it_knows(client: httpx.Client) -> None:
    answer = client.put("/api/v1/people")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert client.get("/api/v1/faces/move").headers["allow"] == "POST"
    assert answer.json()["type"] == "urn:vultus:method-not-allowed"


@pytest.mark.parametrize("path", ["people/x", "people/-1", "faces/1.5/chip", "sightings/0x1"])
def test_what_is_no_number_is_no_place(client: httpx.Client, path: str) -> None:
    assert client.get(f"/api/v1/{path}").status_code == 404


def test_numbers_and_truths_of_json_are_such(client: httpx.Client) -> None:
    for wrong in ({"faces": ["1"], "to": None}, {"faces": [1.0], "to": None}, {"faces": [2**53], "to": None}):
        assert client.post("/api/v1/faces/move", json=wrong).status_code == 422
    assert client.patch("/api/v1/people/1", json={"hidden": 1}).status_code == 422
    assert client.get("/api/v1/sightings?after=1790000000").json()["errors"][0]["where"] == "query.after"

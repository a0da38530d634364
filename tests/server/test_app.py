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

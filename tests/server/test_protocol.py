"""Slow and many connections, large headers, slow bodies; and https of our own."""

import contextlib
import datetime
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from served import serving
from signing import PASSWORD, cheap_hashes

from vultus.server.errors import WrongSetup
from vultus.server.services import Services
from vultus.server.serving import tls


@pytest.fixture(scope="module")
def hasty(services: Services) -> Iterator[tuple[str, int]]:
    """A server with little patience."""
    serve = services.config.serve
    limits = replace(serve.limits, header_seconds=0.5, upload_seconds=0.5, connections=8)
    before, services.config = services.config, replace(services.config, serve=replace(serve, limits=limits))
    with serving(services) as address:
        host, port = address.removeprefix("http://").split(":")
        yield host, int(port)
    services.config = before


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_headers_that_do_not_come_are_not_waited_for(hasty: tuple[str, int], begun: bytes) -> None:
    with socket.create_connection(hasty, timeout=20) as raw:
        raw.sendall(begun)
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(100) == b""


@pytest.mark.slow
def test_between_requests_one_may_wait_longer(hasty: tuple[str, int]) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(hasty, timeout=20) as raw:
        for _ in range(2):
            raw.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += raw.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 200")
            raw.settimeout(0.8)
            with pytest.raises(TimeoutError):
                raw.recv(1)
            raw.settimeout(20)


def test_a_body_that_does_not_come_is_408(hasty: tuple[str, int]) -> None:
    head = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    with socket.create_connection(hasty, timeout=20) as raw:
        raw.sendall(head + b"--b\r\n")
        assert raw.recv(10_000).startswith(b"HTTP/1.1 408 ")


def test_large_headers_are_refused(hasty: tuple[str, int]) -> None:
    with socket.create_connection(hasty, timeout=20) as raw:
        raw.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n")
        assert raw.recv(10_000).split()[1] in (b"431", b"400")  # all at once, or in pieces


def test_one_address_has_so_many_connections(hasty: tuple[str, int]) -> None:
    open_now = [socket.create_connection(hasty, timeout=20) for _ in range(12)]
    answered = 0
    for raw in open_now:
        with raw:
            try:
                raw.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answered += raw.recv(10_000).startswith(b"HTTP/1.1 200")
            except OSError:
                pass
    assert 1 <= answered <= 8


def certificate(folder: Path, password: bytes | None = None) -> dict[str, str]:
    """A certificate for localhost, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, how))
    (folder / "cert.pem").write_bytes(made.public_bytes(encoding))
    return {"tls_certificate": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}


def test_https_has_its_own_cookie_and_old_versions_are_refused(services: Services, tmp_path: Path) -> None:
    before = services.config
    services.config = replace(before, serve=replace(before.serve, **certificate(tmp_path)))
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    try:
        with cheap_hashes(), serving(services) as address:
            services.accounts.users.add("ada", "admin", PASSWORD)
            port = int(address.rpartition(":")[2])
            with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted) as client:
                answer = client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
                cookie = answer.headers["set-cookie"]
                assert cookie.startswith("__Host-vultus=")
                assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
                assert client.get("/api/v1/session").json()["name"] == "ada"
                token = client.cookies["__Host-vultus"]
                client.cookies.clear()  # a cookie that http could have set is none here
                assert client.get("/api/v1/session", headers={"Cookie": f"vultus={token}"}).status_code == 401
            with pytest.raises(httpx.HTTPError):
                httpx.get(f"http://localhost:{port}/livez")
            assert (tls(services.config.serve) or trusted).minimum_version >= ssl.TLSVersion.TLSv1_2
    finally:
        services.config = before
        with services.store.write() as connection:
            connection.execute("DELETE FROM users")


def test_a_certificate_that_cannot_be_used_is_said(services: Services, tmp_path: Path) -> None:
    files = certificate(tmp_path, b"secret")

    def said(**changed: Any) -> str:
        with pytest.raises(WrongSetup) as error:
            tls(replace(services.config.serve, **files | changed))
        return str(error.value)

    assert "is encrypted" in said()
    assert "No such file" in said(tls_key="/nowhere/key.pem")
    assert "tls_certificate" in said(tls_certificate=files["tls_key"])

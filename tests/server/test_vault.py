"""Secrets at rest: the key, its change, and what a thief of the file learns."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vultus.configs.loader import load
from vultus.configs.schema import Config
from vultus.server import vault as vaults
from vultus.server.errors import VaultError, WrongSetup
from vultus.server.store import FILE, Store
from vultus.server.vault import Vault, forget_all, rotate

SECRET = "rtsp://viewer:hunter2@192.0.2.7/stream1"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(None, {"serve.folder": str(tmp_path / "server")})


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    assert config.serve.folder is not None
    store = Store(Path(config.serve.folder))
    yield store
    store.close()


def kept(vault: Vault, store: Store, name: str = "camera/1/address", text: str = SECRET) -> None:
    with store.write() as connection:
        vault.keep(connection, name, text)


def test_what_is_kept_comes_back_and_does_not_stand_in_the_file(config: Config, store: Store) -> None:
    kept(Vault.open(config, store), store)
    assert Vault.open(config, store).reveal("camera/1/address") == SECRET
    assert store.folder.joinpath("secrets.key").stat().st_mode & 0o777 == 0o600
    store.close()
    files = b"".join(path.read_bytes() for path in store.folder.glob(f"{FILE}*"))
    assert b"camera/1/address" in files
    assert b"hunter2" not in files
    assert b"192.0.2.7" not in files


def test_a_secret_in_the_place_of_another_is_refused(config: Config, store: Store) -> None:
    vault = Vault.open(config, store)
    kept(vault, store)
    kept(vault, store, "webhook/1/secret", "other")
    with store.write() as connection:
        connection.execute(
            "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'camera/1/address') "
            "WHERE name = 'webhook/1/secret'"
        )
    with pytest.raises(VaultError, match="webhook/1/secret"):
        vault.reveal("webhook/1/secret")


def test_forgotten_is_gone(config: Config, store: Store) -> None:
    vault = Vault.open(config, store)
    kept(vault, store)
    with store.write() as connection:
        vault.forget(connection, "camera/1/address")
    for name in ("camera/1/address", ""):
        with pytest.raises(KeyError):
            vault.reveal(name)


@pytest.mark.parametrize("spoil", ["another", "missing", "nonsense", "open"])
def test_a_wrong_key_is_refused_in_a_line_that_helps(config: Config, store: Store, spoil: str) -> None:
    kept(Vault.open(config, store), store)
    file = store.folder / "secrets.key"
    said = {
        "another": "is not the key that the secrets",
        "missing": "bring the file back",
        "nonsense": "holds no key",
        "open": "chmod 600",
    }
    if spoil == "missing":
        file.unlink()
    elif spoil == "open":
        file.chmod(0o640)
    else:
        file.write_text("no key" if spoil == "nonsense" else os.urandom(32).hex())
    with pytest.raises(WrongSetup, match=said[spoil]) as refused:
        Vault.open(config, store)
    assert "\n" not in str(refused.value)


def test_the_environment_goes_before_the_file(config: Config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_SERVER_KEY", os.urandom(32).hex())
    kept(Vault.open(config, store), store)
    assert not (store.folder / "secrets.key").exists()
    monkeypatch.setenv("VULTUS_SERVER_KEY", os.urandom(32).hex())
    with pytest.raises(WrongSetup, match="VULTUS_SERVER_KEY is not the key"):
        Vault.open(config, store)


def test_the_key_is_changed(config: Config, store: Store) -> None:
    before = Vault.open(config, store)
    kept(before, store)
    old = (store.folder / "secrets.key").read_text()
    rotate(config, store)
    assert (store.folder / "secrets.key").read_text() != old
    assert not (store.folder / "secrets.key.new").exists()
    assert Vault.open(config, store).reveal("camera/1/address") == SECRET
    with pytest.raises(VaultError, match="start it again"):  # a server that ran meanwhile
        kept(before, store, "camera/2/address")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_change_that_was_cut_off_is_finished(
    config: Config, store: Store, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(Vault.open(config, store), store)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((Vault, "change_key", crash) if moment == "before" else (vaults, "_into_place", crash)))
        with pytest.raises(KeyboardInterrupt):
            rotate(config, store)
    assert (store.folder / "secrets.key.new").exists()
    assert Vault.open(config, store).reveal("camera/1/address") == SECRET
    rotate(config, store)
    assert Vault.open(config, store).reveal("camera/1/address") == SECRET


def test_a_change_to_a_key_of_ones_own(config: Config, store: Store, tmp_path: Path) -> None:
    kept(Vault.open(config, store), store)
    own = tmp_path / "own.key"
    own.write_text(os.urandom(32).hex())
    own.chmod(0o600)
    assert rotate(config, store, own) == own
    with pytest.raises(WrongSetup, match="is not the key"):
        Vault.open(config, store)
    config = load(None, {"serve.folder": str(store.folder), "serve.key_file": str(own)})
    assert Vault.open(config, store).reveal("camera/1/address") == SECRET


def test_a_lost_key_ends_in_a_new_beginning(config: Config, store: Store) -> None:
    kept(Vault.open(config, store), store)
    (store.folder / "secrets.key").unlink()
    assert forget_all(store) == 1
    with pytest.raises(KeyError):
        Vault.open(config, store).reveal("camera/1/address")

"""`vultus secrets`."""

from pathlib import Path

from click.testing import CliRunner

from vultus.cli.secrets import secrets
from vultus.configs.loader import load
from vultus.server.store import Store
from vultus.server.vault import Vault


def test_the_key_is_changed_and_secrets_are_deleted(tmp_path: Path) -> None:
    file = tmp_path / "vultus.yaml"
    file.write_text(f"serve: {{folder: {tmp_path / 'server'}}}")
    config = load(file)
    run = CliRunner()
    nowhere = run.invoke(secrets, ["rotate", "--config", str(file)])
    assert nowhere.exit_code == 1
    assert "no server has run there yet" in nowhere.output

    store = Store(tmp_path / "server")
    vault = Vault.open(config, store)
    with store.write() as connection:
        vault.keep(connection, "camera/1/address", "rtsp://u:hunter2@192.0.2.7/")
    before = (tmp_path / "server/secrets.key").read_text()
    rotated = run.invoke(secrets, ["rotate", "--config", str(file)])
    assert rotated.exit_code == 0, rotated.output
    assert (tmp_path / "server/secrets.key").read_text() not in (before, rotated.output)
    assert Vault.open(config, store).reveal("camera/1/address") == "rtsp://u:hunter2@192.0.2.7/"

    assert run.invoke(secrets, ["forget", "--config", str(file)], input="n\n").exit_code == 1
    forgotten = run.invoke(secrets, ["forget", "--yes", "--config", str(file)])
    assert forgotten.exit_code == 0, forgotten.output
    store.close()

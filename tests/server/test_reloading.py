"""The configuration is read again while the server runs."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from served import configured

from vultus.configs.errors import ConfigError
from vultus.configs.schema import Config, Match, Source
from vultus.configs.serving import Archives
from vultus.server.services import Services


def test_cameras_and_archives_change_at_once_and_the_rest_waits(gallery: Path, tmp_path: Path) -> None:
    config = configured(tmp_path, gallery)
    wanted: list[Config | ConfigError] = []

    def read() -> Config:
        if isinstance(wanted[0], ConfigError):
            raise wanted[0]
        return wanted[0]

    with Services(config, read) as services:
        wanted[:] = [config]
        assert services.reload().changed == ()
        serve = replace(config.serve, archives=Archives(folders=(str(tmp_path),)))
        source = Source(name="door", address="rtsp://127.0.0.1:9/x")
        wanted[:] = [replace(config, sources=(source,), serve=serve, match=Match(threshold=0.5))]
        found = services.reload()
        assert (found.changed, found.restart) == (("sources", "serve.archives"), ("match",))
        assert [camera.name for camera in services.cameras.all()] == ["door"]
        assert services.archives.roots == [str(tmp_path)]
        wanted[:] = [ConfigError("line 3: no")]
        with pytest.raises(ConfigError, match="line 3"):
            services.reload()
        wanted[:] = [config]
        assert services.reload().changed == ("sources", "serve.archives")
        assert services.cameras.all() == []


def test_without_a_file_there_is_nothing_to_read(gallery: Path, tmp_path: Path) -> None:
    with (
        Services(configured(tmp_path, gallery)) as services,
        pytest.raises(ConfigError, match="without a configuration"),
    ):
        services.reload()

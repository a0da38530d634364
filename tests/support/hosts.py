"""Jobs that share their work with other hosts: keys, configuration, and workers in threads of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace
from ports import free_port

from vultus.configs.schema import Config, Group, Host, Network
from vultus.configs.schema import Pipeline as Settings
from vultus.pipeline import keys
from vultus.pipeline.hosted import Assignment, Hosted


class Machines:
    """A main machine and the host `attic`, each with keys, and a configuration that both have."""

    def __init__(self, folder: Path, **settings: float) -> None:
        self.main, self.attic = folder / "main.key", folder / "attic.key"
        main, attic = keys.create(self.main), keys.create(self.attic)
        self.listen = f"tcp://127.0.0.1:{free_port()}"
        self.config = Config(
            network=Network(
                main_key=main.public,
                hosts=(Host(name="attic", key=attic.public),),
                key_file=str(self.main),
                retry_first=0.05,
                retry_max=0.2,
            ),
            pipeline=Settings(heartbeat=0.2, restart_first=0.05, **settings),
        )

    def group(self, stage: str, **options: int) -> Group:
        """A group of one stage whose work is attic's."""
        return Group(name=stage, stages=(stage,), hosts=("attic",), listen=self.listen, **options)

    @contextmanager
    def working(
        self,
        group: Group,
        key: Path | None = None,
        *,
        main_key: str | None = None,
        factory: str = "toys:build",
        embedder: str | None = None,
    ) -> Iterator[list[str]]:
        """While inside, attic works for `group` (with that key file, or the key it takes main's to be); yields what it says."""
        said: list[str] = []
        network = replace(self.config.network, key_file=str(key or self.attic))
        if main_key is not None:
            network = replace(network, main_key=main_key)
        config = replace(self.config, network=network)
        assert group.listen is not None
        hosted = Hosted(
            config, [Assignment("index", group, group.listen)], lambda title, text: said.append(text), factory=factory
        )
        thread = threading.Thread(target=hosted.run)
        thread.start()
        try:
            yield said
        finally:
            hosted.stop()
            thread.join()

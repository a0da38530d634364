"""Tries a camera in a process of its own, which is killed when its time is over: a stream may hang or crash its decoder."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import msgspec
from msgspec import Struct, structs

from vultus.configs.schema import Config
from vultus.configs.serving import Networks
from vultus.stages.probing import Probe, probe, remedy

Transport = Literal["tcp", "udp"]
_STARTING = 10.0
"""Seconds that the process may take beyond what the camera may, on a busy machine."""


class _Task(Struct, frozen=True):
    address: str
    config: Config
    transport: Transport | None
    networks: Networks | None


def tried(address: str, config: Config, transport: Transport | None, networks: Networks | None) -> Probe:
    """What came of connecting to a camera. The address travels through a pipe: a process list shows nothing of it."""
    task = msgspec.json.encode(_Task(address, structs.replace(config, sources=()), transport, networks))
    limit = config.decode.open_timeout + config.decode.stall_timeout + _STARTING
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__], input=task, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        reason = f"no answer within {limit:g} s"
        return Probe(reason=reason, remedy=remedy(reason))
    if done.returncode:
        return Probe(reason="its stream ended the process that read it", remedy="let the camera send H.264 or MJPEG")
    return msgspec.json.decode(done.stdout, type=Probe)


def _child() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=_Task)
    found = probe(task.address, task.config, transport=task.transport, networks=task.networks)
    sys.stdout.buffer.write(msgspec.json.encode(found))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _child()

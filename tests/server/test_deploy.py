"""The files of deploy/: they name only what is there, as far as that can be told without a container engine."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vultus.cli.main import cli
from vultus.configs.loader import load
from vultus.pipeline.health import CameraHealth, Health
from vultus.pipeline.metrics import Counters, WorkerMetrics
from vultus.server.metrics import Metrics
from vultus.server.services import Services

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, each with what follows it, continued lines as one."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def called(words: list[str]) -> None:
    """Fail if this is not a command of vultus with options that it has."""
    command = cli.get_command(None, words[0])  # type: ignore[arg-type]
    assert command is not None, words
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, words


def test_the_container_is_made_of_what_is_there() -> None:
    steps = instructions()
    assert {word for word, _ in steps} <= {
        *("FROM", "RUN", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD")
    }
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wanted,) = (found[1] for _, rest in steps if (found := re.search(r"/src\[([a-z,]+)\]", rest)))
    assert set(wanted.split(",")) <= set(extras)
    called(json.loads(dict(steps)["CMD"]))
    stages = [number for number, (word, _) in enumerate(steps) if word == "FROM"]
    users = [number for number, (word, _) in enumerate(steps) if word == "USER"]
    assert users > stages[-1:], "the last stage gives its rights up"


def test_the_composition_names_files_that_are_there_and_a_valid_configuration() -> None:
    tree = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    made_by_the_user = {"prometheus.key"}
    for service in tree["services"].values():
        for volume in service.get("volumes", ()):
            place = volume.split(":")[0]
            if place.startswith("./") and place[2:] not in made_by_the_user:
                assert (DEPLOY / place).is_file(), volume
            assert place.startswith("./") or place in tree["volumes"]
    build = tree["services"]["vultus"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    config = load(DEPLOY / "vultus.yaml")
    assert str(config.serve.port) in tree["services"]["vultus"]["ports"][0]


def test_the_dashboard_asks_for_metrics_that_there_are(services: Services) -> None:
    camera = CameraHealth(source="door", state="lost", since=1.0, latency=0.1, last_face=2.0)
    process = WorkerMetrics(
        group="faces",
        worker=0,
        stages=("detect",),
        state="running",
        pid=7,
        restarts=1,
        counters=Counters(counts={"x": 1}),
    )
    health = Health(pid=1, started=1.0, cameras=(camera,), processes=(process,))
    metrics = Metrics(services.desk, services.gallery, lambda: health)
    metrics.requests.labels("GET", "/", 200).inc()
    metrics.seconds.labels("GET", "/").observe(0.1)
    there = {
        sample.name
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
    }
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel.get("targets", ())
        for name in re.findall(r"\b(?:vultus|process)_[a-z_]+", target["expr"])
    }
    assert len(asked) > 20
    assert asked <= there, asked - there


def test_prometheus_understands_its_file(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian: prometheus)")
    text = (DEPLOY / "prometheus.yaml").read_text()
    (tmp_path / "key").write_text("x")
    (tmp_path / "p.yaml").write_text(text.replace("/etc/prometheus/vultus.key", str(tmp_path / "key")))
    done = subprocess.run(
        ["promtool", "check", "config", tmp_path / "p.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_understands_its_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian: systemd)")
    text = (DEPLOY / "vultus.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    called(shlex.split(start)[1:])
    unit = tmp_path / "vultus.service"
    unit.write_text(text.replace("/opt/vultus/bin/vultus", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "vultus" in line]) == (0, [])

"""`vultus worker` and `vultus keys`: an archive indexed with the help of another host, over loopback and out of a network
namespace; the gallery is the same as without, and who has no key gets nothing in.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import COMMAND, Run, contents, make_photos
from ports import free_port

from vultus.cli.main import main
from vultus.configs import ConfigError, load
from vultus.pipeline import keys
from vultus.pipeline.health import ask, jobs
from vultus.pipeline.transport import new_keys

CONFIG = """
network:
  main_key: '{main}'
  hosts: [{{name: attic, key: '{attic}'}}]
  key_file: {folder}/main.key
  retry_first: 0.1
  retry_max: 0.5
pipeline:
  heartbeat: 0.25
  index:
    - {{name: faces, stages: [decode, detect, track, align], queue: 32}}
    - {{name: embed, stages: [embed], hosts: [attic], listen: "tcp://{address}:{port}", max_batch: 8}}
    - {{name: people, stages: [store]}}
"""


class Machines:
    """Two key files and one configuration; processes of the other host, in `namespace` if there is one."""

    def __init__(self, folder: Path, address: str, namespace: str | None) -> None:
        self.folder, self.namespace = folder, namespace
        public = {name: keys.create(folder / f"{name}.key").public for name in ("main", "attic", "stranger")}
        self.config = folder / "two.yaml"
        self.config.write_text(CONFIG.format(**public, folder=folder, address=address, port=free_port()))
        # The stranger's own copy of the configuration lists it; the main machine's does not.
        self.strangers = folder / "strangers.yaml"
        self.strangers.write_text(self.config.read_text().replace(public["attic"], public["stranger"]))
        self._running: list[subprocess.Popen[bytes]] = []

    def worker(self, key: str = "attic") -> subprocess.Popen[bytes]:
        inside = [] if self.namespace is None else ["ip", "netns", "exec", self.namespace]
        config = self.strangers if key == "stranger" else self.config
        command = [*inside, *COMMAND, "worker", "--config", str(config), "--key", str(self.folder / f"{key}.key")]
        with (self.folder / f"{key}.log").open("ab") as log:
            self._running.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        return self._running[-1]

    def log(self, key: str) -> str:
        return (self.folder / f"{key}.log").read_text()

    def end(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(10)


@pytest.fixture(params=["loopback", "namespace"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    if request.param == "loopback":
        found = Machines(tmp_path, "127.0.0.1", None)
        yield found
        found.end()
        return
    with Namespace() as (name, address):
        found = Machines(tmp_path, address, name)
        yield found
        found.end()


class Namespace:
    """A network namespace with one way to this one: its name, and this side's address."""

    def __enter__(self) -> tuple[str, str]:
        self.name = f"vultus-test-{os.getpid()}"
        here, there, net = f"vt{os.getpid() % 10**6}a", f"vt{os.getpid() % 10**6}b", "198.18.213"
        made = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
        for words in (
            f"ip link add {here} type veth peer name {there} netns {self.name}",
            f"ip addr add {net}.1/30 dev {here}",
            f"ip link set {here} up",
            f"ip -n {self.name} addr add {net}.2/30 dev {there}",
            f"ip -n {self.name} link set {there} up",
        ):
            done = subprocess.run(words.split(), capture_output=True, text=True)
            if done.returncode:
                self.__exit__()
                pytest.skip(f"no way into a network namespace here: `{words}`: {done.stderr.strip()}")
        return self.name, f"{net}.1"

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=True)


def same(one: Path, other: Path) -> int:
    """How many faces two galleries hold, which have to be alike."""
    left, right = contents(one), contents(other)
    assert left.keys() == right.keys()
    for key, (name, vector) in left.items():
        assert right[key][0] == name
        np.testing.assert_allclose(right[key][1], vector, atol=1e-5)
    return len(left)


@pytest.mark.slow
def test_the_gallery_is_the_same_and_nobody_else_gets_in(
    vultus: Run, archive: Path, gallery: Path, machines: Machines, tmp_path: Path
) -> None:
    machines.worker("stranger")
    command = ["index", str(archive), "--label-from-folder", "--config", str(machines.config), "--json"]
    with running([*command, "--gallery", str(tmp_path / "g")]) as job:
        counts: dict[str, int] = {}
        while not counts.get("network_denied"):
            assert job.poll() is None, job.communicate()
            gate = embedding(job.pid)
            counts = gate["counters"]["counts"] if gate else {}
        assert gate is not None
        assert gate["counters"]["remotes"] == []
        assert vultus("status", code=1).out.count("embed waits for a worker of attic") == 1
        machines.worker()
        out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert "attic joined the group embed" in err
    assert json.loads(out.splitlines()[-1])["faces"] == 10
    assert same(gallery, tmp_path / "g") == 10
    assert "it does not permit this machine's key" in machines.log("stranger")
    assert "works for" not in machines.log("stranger")[machines.log("stranger").index("index/embed[0]") :]
    assert "Traceback" not in machines.log("attic") + machines.log("stranger")


@pytest.mark.slow
@pytest.mark.parametrize("machines", ["namespace"], indirect=True)
def test_the_other_host_dies_in_the_middle(
    vultus: Run, samples: tuple[Path, Any], machines: Machines, tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", samples[0], 30, seed=3)
    vultus("index", tmp_path / "photos", "--gallery", tmp_path / "a")
    remote = machines.worker()
    command = ["index", str(tmp_path / "photos"), "--config", str(machines.config), "--json"]
    with running([*command, "--gallery", str(tmp_path / "b")]) as job:
        while not any(one["finished"] > 5 for one in remotes(job.pid)):
            assert job.poll() is None, job.communicate()
        remote.kill()  # and with it, by the kernel, its stage process
        remote.wait()
        again = machines.worker()
        out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert "attic left the group embed" in err
    done = json.loads(out.splitlines()[-1])
    assert (done["done"], done["refused"]) == (30, 0)
    assert same(tmp_path / "a", tmp_path / "b") >= 30
    assert again.poll() is None, "it waits for the next job"


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A command that is still at work; it is killed, and its pipes closed, however the test ends."""
    with subprocess.Popen([*COMMAND, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def embedding(pid: int) -> Any:
    """How the group `embed` of a job is, as `vultus status --json` says; none if there is no such one yet."""
    for folder in jobs():
        try:
            health = json.loads(ask(folder, "status"))
        except OSError:
            continue
        if health["pid"] == pid:
            return next((one for one in health["processes"] if one["group"] == "embed"), None)
    return None


def remotes(pid: int) -> list[dict[str, Any]]:
    found = embedding(pid)
    return [] if found is None else found["counters"]["remotes"]


def test_keys_are_made_once_and_the_secret_one_is_never_shown(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "network.key"
    assert main(["keys", "new", "--file", str(file)]) == 0
    made = capfd.readouterr()
    assert file.stat().st_mode & 0o777 == 0o600
    public, secret = re.findall(r"^(?:public|secret) (\S{40})$", file.read_text(), re.MULTILINE)
    assert made.out.strip() == public
    assert secret not in made.out + made.err
    assert main(["keys", "new", "--file", str(file)]) == 2
    assert "is there already" in capfd.readouterr().err
    assert main(["keys", "show", "--file", str(file), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["public"] == public
    for text in ("", f"public {public}\nsecret {'#' * 40}\n", f"public {new_keys()[0]}\nsecret {secret}\n"):
        (tmp_path / "other.key").write_text(text)
        (tmp_path / "other.key").chmod(0o600)
        assert main(["keys", "show", "--file", str(tmp_path / "other.key")]) == 2
        said = capfd.readouterr().err
        assert "other.key" in said
        assert secret not in said
    file.chmod(0o644)
    assert main(["keys", "show", "--file", str(file)]) == 2
    assert "chmod 600" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("network: {hosts: [{name: attic, key: KEY}]}", "nothing listens to a network without keys"),
        ("network: {main_key: KEY}", "which has no key"),
        ("network: {main_key: short, hosts: []}", "`network.main_key`"),
        (f"network: {{main_key: '{'#' * 40}'}}", "is no key"),
        ("network: {main_key: KEY, hosts: [{name: attic, key: KEY}, {name: attic, key: KEY}]}", "have the name attic"),
    ],
)
def test_listening_without_keys_is_refused_in_words(wrong: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    groups = CONFIG[CONFIG.index("pipeline:") :].format(address="0.0.0.0", port=7301)
    file.write_text(wrong.replace("KEY", f"'{new_keys()[0]}'") + "\n" + groups)
    with pytest.raises(ConfigError, match=re.escape(says)):
        load(file)

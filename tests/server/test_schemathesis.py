"""Every operation of the API against what its description promises, with inputs that schemathesis makes up."""

import subprocess
import sys
from pathlib import Path

import pytest
from served import configured, serving
from signing import add_users, cheap_hashes

from vultus.server.roles import AREAS
from vultus.server.services import Services

# Streams never end; tests and pictures of cameras reach into the network.
_LEFT_OUT = r"^/api/v1/(events/stream|cameras/test|cameras/\{number\}/snapshot|cameras/\{number\}/live\.mjpeg)$"
# Signing in and out, users and keys are for people, not for the key that asks here: test_session.py, test_users.py.
_FOR_PEOPLE = r"^/api/v1/(session|users|keys)"
# Not every file is a photo, not every number somebody's, and a server without a configuration file has none to read.
_TOO_STRICT = "positive_data_acceptance"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_input_gets_an_answer_that_is_not_described(gallery: Path, tmp_path: Path) -> None:
    wide = {"serve.limits.rate": 100_000, "serve.limits.burst": 100_000}
    with Services(configured(tmp_path, gallery, wide)) as services, serving(services) as address, cheap_hashes():
        add_users(services)
        _, key = services.accounts.keys.make("program", "admin", AREAS, "test")
        command = [
            *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{address}/api/v1/openapi.json"),
            *("--seed", "1", "--max-examples", "2", "--phases", "examples,fuzzing", "--no-color"),
            *("--generation-database", "none", "--request-timeout", "60", "-H", f"Authorization: Bearer {key}"),
            *("--exclude-path-regex", f"{_LEFT_OUT}|{_FOR_PEOPLE}", "--exclude-checks", _TOO_STRICT),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    (tmp_path / "schemathesis.txt").write_text(done.stdout)
    assert done.returncode == 0, f"{tmp_path / 'schemathesis.txt'}\n{done.stdout[-20_000:]}{done.stderr[-2_000:]}"
    assert "Test cases" in done.stdout, done.stdout

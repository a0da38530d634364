"""A gallery in PostgreSQL on the command line: everywhere that a folder may stand, the same answers, and no password shown."""

import pytest
from postgres_fixtures import ENCODED, PASSWORD


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_work_on_a_database_as_on_a_folder(vultus, archive, gallery, database, samples, tmp_path):
    url = database()
    asked = samples[0] / "person_a_2.jpg"
    said = []

    def run(*arguments, code=0):
        answer = vultus(*arguments, "--gallery", url, code=code, timeout=180)
        said.append(answer.out + answer.err)
        return answer

    assert "not made yet" in run("gallery", "stats", code=2).err or "there is no gallery" in said[-1]
    first = run("index", archive, "--label-from-folder", "--json").json
    assert (first["done"], first["refused"]) == (5, 0)
    assert run("index", archive, "--label-from-folder", "--json").json["already"] == 5
    figures = run("gallery", "stats", "--json").json
    local = vultus("gallery", "stats", "--json", "--gallery", gallery).json
    assert {name: figures[name] for name in ("identities", "faces", "model", "dim", "index")} == {
        name: local[name] for name in ("identities", "faces", "model", "dim", "index")
    }

    def names(answer):
        return [
            [(match["name"], round(match["similarity"], 5)) for match in face["matches"] if match["name"]]
            for face in answer.json["faces"]
        ]

    assert names(run("query", asked, "--json")) == names(vultus("query", asked, "--json", "--gallery", gallery))
    people = [one["name"] for one in run("people", "list", "--json").json]
    assert people == [one["name"] for one in vultus("people", "list", "--json", "--gallery", gallery).json]
    run("people", "rename", people[0], "Somebody Else")
    run("people", "enrol", "New", asked)
    run("people", "delete", "New", "--yes")
    run("gallery", "convert", "--index", "hnsw")
    assert run("gallery", "verify", "--json").json["ok"] is True
    run("gallery", "compact")
    run("gallery", "backup", tmp_path / "copy")
    assert "already" in run("gallery", "restore", tmp_path / "copy", code=2).err
    vultus("gallery", "restore", tmp_path / "copy", "--gallery", tmp_path / "restored")
    people = vultus("people", "list", "--gallery", tmp_path / "restored", "--json").json
    assert people == run("people", "list", "--json").json
    assert run("doctor", code=None)
    wrong = vultus("people", "list", "--gallery", url.replace(ENCODED, "wr0ng"), code=2)
    assert "refused user or password" in wrong.err
    assert wrong.err.count("\n") <= 3
    said.append(wrong.out + wrong.err)
    for text in said:
        assert not any(secret in text for secret in (PASSWORD, ENCODED, "wr0ng"))


def test_what_is_no_address_is_said_without_showing_it(vultus):
    for address in (
        "postgresql://u:se/cret@host/db",
        "postgresql://u:secret@host:port/db",
        "postgresql://u:secret@host",
    ):
        answer = vultus("people", "list", "--gallery", address, code=2)
        assert "is no address of a database; write postgresql://USER@HOST:PORT/DATABASE" in answer.err
        assert "cret" not in answer.out + answer.err

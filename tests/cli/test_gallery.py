import zipfile
from unittest.mock import ANY

import numpy as np

from vultus.index import Gallery
from vultus.index.audit import os_user


def test_convert_changes_the_index_and_keeps_the_answers(vultus, tmp_path, rand):
    folder = tmp_path / "gallery"
    rows = rand.standard_normal((1100, 64)).astype(np.float32)
    with Gallery.open(folder) as gallery:
        gallery.enrol_many([f"p{at}" for at in range(len(rows))], rows)
        before = gallery.search(rows[:5], 1)
    said = vultus("gallery", "convert", "--gallery", folder, "--index", "sq8", "--json").json
    assert (said["index"], said["bytes_per_vector"]) == ("sq8", 64 + 16)
    assert vultus("gallery", "stats", "--gallery", folder, "--json").json["index"] == "sq8"
    with Gallery.open(folder) as gallery:
        assert gallery.search(rows[:5], 1) == before
    text = vultus("gallery", "convert", "--gallery", folder).out
    assert "index flat, 272 bytes a face, made in" in text


def test_backup_restore_and_compact(vultus, tmp_path, rand):
    folder, copy = tmp_path / "gallery", tmp_path / "copy"
    with Gallery.open(folder) as gallery:
        gallery.enrol("Ada", rand.standard_normal((500, 128)))
        gallery.enrol("Bob", rand.standard_normal((3, 128)))
    said = vultus("gallery", "backup", tmp_path / "file", "--gallery", folder, "--json").json
    assert said["bytes"] == (tmp_path / "file").stat().st_size
    assert "is there already" in vultus("gallery", "backup", tmp_path / "file", "--gallery", folder, code=2).err
    with Gallery.open(folder) as gallery:
        gallery.remove_identity("Ada")
    assert vultus("gallery", "compact", "--gallery", folder, "--json").json["bytes"] > 500 * 512
    assert "2 people, 503 faces" in vultus("gallery", "restore", tmp_path / "file", "--gallery", copy).out
    assert vultus("gallery", "verify", "--gallery", copy, "--json").json["ok"]
    assert "not empty" in vultus("gallery", "restore", tmp_path / "file", "--gallery", folder, code=2).err
    assert "MB given back" in vultus("gallery", "compact", "--gallery", folder).out


def test_export_of_a_person(vultus, tmp_path, rand):
    folder, out = tmp_path / "gallery", tmp_path / "ada.zip"
    with Gallery.open(folder) as gallery:
        gallery.enrol("Ada", rand.standard_normal((3, 16)))
    assert vultus("people", "export", "Ada", "--out", out, "--gallery", folder, "--json").json["faces"] == 3
    assert zipfile.is_zipfile(out)
    assert "is there already" in vultus("people", "export", "Ada", "--out", out, "--gallery", folder, code=2).err
    assert (
        "Ada: 3 faces, 0 sightings written to"
        in vultus("people", "export", "1", "--out", tmp_path / "other.zip", "--gallery", folder).err
    )
    assert (
        "nobody named"
        in vultus("people", "export", "Bob", "--out", tmp_path / "bob.zip", "--gallery", folder, code=2).err
    )


def test_the_audit_log(vultus, tmp_path, rand):
    folder, config = tmp_path / "gallery", tmp_path / "config.yaml"
    config.write_text("audit: {enabled: true}")
    with Gallery.open(folder) as gallery:
        gallery.enrol("Ada", rand.standard_normal((3, 16)))
    vultus("people", "export", "Ada", "--out", tmp_path / "ada.zip", "--gallery", folder, "--config", config)
    vultus("people", "rename", "Ada", "Eve", "--gallery", folder, "--config", config)
    entries = vultus("gallery", "audit", "--gallery", folder, "--json").json
    assert [entry["operation"] for entry in entries] == ["created", "added", "export", "renamed"]
    assert [entry["actor"] for entry in entries[:2]] == [None, None]
    assert entries[2]["actor"] == entries[3]["actor"] == os_user()
    assert entries[3]["people"] == [1]
    assert "renamed" in vultus("gallery", "audit", "--gallery", folder, "--since", "1h").out
    chosen = ("--who", os_user(), "--what", "renamed", "--what", "added")
    found = vultus("gallery", "audit", "--gallery", folder, *chosen, "--json").json
    assert [entry["operation"] for entry in found] == ["renamed"]
    assert vultus("gallery", "audit", "--gallery", folder, "--since", "2100-01-01", "--json").json == []
    assert "neither like 7d" in vultus("gallery", "audit", "--gallery", folder, "--since", "soon", code=2).err


def test_encrypt_rekey_decrypt(vultus, tmp_path, rand):
    folder, config = tmp_path / "gallery", tmp_path / "config.yaml"
    first, second = tmp_path / "first.key", tmp_path / "second.key"
    with Gallery.open(folder) as gallery:
        gallery.enrol("Ada", rand.standard_normal((3, 16)))

    def run(*command, key=None, **options):
        config.write_text(f"store: {{key_file: {key}}}" if key else "")
        return vultus("gallery", *command, "--gallery", folder, "--config", config, **options)

    said = run("encrypt", "--key-file", first)
    assert "encrypted, 3 faces in" in said.out
    assert "keep a copy of it elsewhere" in said.err
    assert (first.stat().st_mode & 0o777, len(first.read_text())) == (0o600, 65)
    assert "needs its key: store.key_file, or VULTUS_GALLERY_KEY" in run("stats", code=2).err
    assert run("stats", "--json", key=first).json["encrypted"]
    assert run("rekey", "--key-file", second, "--json", key=first).json["encrypted"]
    assert "another key" in run("stats", key=first, code=2).err
    first.write_text("not a key")
    wrong = run("stats", key=first, code=2).err
    assert "holds no key, which is 64 hexadecimal digits" in wrong
    assert "not a key" not in wrong
    assert "No such file" in run("stats", key=tmp_path / "none", code=2).err
    assert run("decrypt", "--json", key=second).json == {"encrypted": False, "faces": 3, "seconds": ANY}
    assert "is not encrypted, but a key was given" in run("verify", key=second, code=2).err
    assert run("verify", "--json").json["ok"]

"""Files, options and environment to a checked configuration; what is wrong is said with the key's full path."""

import re
from pathlib import Path

import pytest

from vultus.configs import ConfigError, data_folder, dump, gallery_place, load
from vultus.configs.loader import gallery_key
from vultus.configs.schema import Config, Group, Pipeline, Source, Store


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "my.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def refusal(path, overrides=None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path) if path else "configuration")
    assert isinstance(caught.value, ValueError)
    return str(caught.value).removeprefix(str(path) if path else "configuration")


def test_nothing_is_the_defaults(written):
    assert load() == load(written("")) == load(written("# only a comment\n")) == Config()


def test_values_are_taken(written):
    config = load(written("detect: {max_side: 320, score: 1}\nembed:\n  isa: scalar\nmatch: {threshold: -0.5}\n"))
    assert (config.detect.max_side, config.detect.score, config.embed.isa, config.match.threshold) == (
        320,
        1.0,
        "scalar",
        -0.5,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detect: {max_sid: 320}", ": `detect.max_sid`: unknown; nearest valid is `detect.max_side`"),
        ("detekt: {max_side: 320}", ": `detekt`: unknown; nearest valid is `detect`"),
        ("max_side: 320", ": `max_side`: unknown; nearest valid is `detect.max_side`"),
        ("track: {score: 1}", ": `track.score`: unknown; nearest valid is `detect.score`"),
        ("models: {zzzzzz: 1}", ": `models.zzzzzz`: unknown; valid here: detector, embedder, backend"),
        (
            "sources: [{address: a}, {adress: b}]",
            ": `sources[1].adress`: unknown; nearest valid is `sources[1].address`",
        ),
        (
            "pipeline: {index: [{name: a, stage: [decode]}]}",
            ": `pipeline.index[0].stage`: unknown; nearest valid is `pipeline.index[0].stages`",
        ),
        (
            "a_: 1\ndetect: {scor: 1}",
            ": `a_`: unknown; valid here: .*; `detect.scor`: unknown; nearest .*`detect.score`",
        ),
        ("detect: {max_side: big}", ": `detect.max_side`: expected `int`, got `str`"),
        ("detect: {max_side: 1}", ": `detect.max_side`: expected `int` >= 64"),
        ("detect: {score: 1.5}", ": `detect.score`: expected `float` <= 1.0"),
        ("detect: {score: .nan}", ": `detect.score`: expected `float` .*"),
        ("detect: 5", ": `detect`: expected `object`, got `int`"),
        ("embed: {isa: avx9}", ": `embed.isa`: invalid enum value 'avx9'"),
        ("store: {keep_chips: 1}", ": `store.keep_chips`: expected `bool`, got `int`"),
        ("sources: [{name: x}]", r": `sources\[0\]`: object missing required field `address`"),
        ("sources: [{address: 7}]", r": `sources\[0\].address`: expected `str`, got `int`"),
        ("sources: [{address: a}, {address: a}]", ": two sources are called 'a'; give each a `name` of its own"),
        (
            "sources: [{address: 'rtsp://a:b@c'}, {address: 'rtsp://d:e@c'}]",
            ": two sources are called 'rtsp://c'; give each a `name` of its own",
        ),
        ("decode: {retry_first: 9, retry_max: 3}", ": `decode`: retry_max is below retry_first"),
        ("pipeline: {restart_first: 60}", ": `pipeline`: restart_max is below restart_first"),
        (
            "pipeline: {watch: [{name: a, stages: [detect, track, align, embed, match]}]}",
            ": `pipeline`: the groups of watch have the stages detect, .*; they have to be decode, detect, .*, match",
        ),
        (
            "pipeline: {index: [{name: a, stages: [decode, track, detect, align, embed, store]}]}",
            ": `pipeline`: the groups of index have .*; they have to be .*, store",
        ),
        (
            "pipeline: {watch: [{name: a, stages: [decode]}, {name: a, stages: [detect, track, align, embed, match]}]}",
            ": `pipeline`: two groups of watch have the same name, in a, a",
        ),
        (
            "pipeline: {watch: [{name: a, stages: [decode], workers: all}]}",
            r": `pipeline.watch\[0\].workers`: invalid enum value 'all'",
        ),
        ("[1, 2]", ": a configuration is a mapping of keys, not a list"),
        ("just text", ": a configuration is a mapping of keys, not a str"),
    ],
)
def test_wrong_content(written, text, message):
    assert re.fullmatch(
        message.replace("sources[1]", r"sources\[1\]").replace("index[0]", r"index\[0\]"), refusal(written(text))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detect: {score: 1}\ndetect: {score: 0}", ":2:1: `detect` was given before, in line 1"),
        ("detect:\n  score: 1\n  score: 0", ":3:3: `detect.score` was given before, in line 2"),
        ("sources:\n- address: a\n  address: b", r":3:3: `sources\[0\].address` was given before, in line 2"),
        ("a: &x 1\nb: *x", r":2:4: aliases \(`\*name`\) are not used here; write the value out"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", ":2:8: aliases .*"),
        ("a: &a\n  <<: *a", ":2:7: aliases .*"),
        ("5: x", ":1:1: a key is a plain word, not '5'"),
        ("[a]: x", ":1:1: a key is a plain word, not .*"),
        ("a: " + "[" * 100_000, ":1:19: nested deeper than 16"),
        ("a: [1, 2", r":\d+:\d+: .*"),
        ("a: {b: 'c", r":\d+:\d+: found unexpected end of stream"),
        ("a: !!python/object/apply:os.system ['true']", ":1:4: could not determine a constructor for the tag .*"),
        ("a: 1\n---\nb: 2", r":\d+:\d+: but found another document"),
        (b"a: \xff\xfe\x00", r": not YAML \(.*position 3\)"),
        (b"\x00\x01\x02", r": not YAML \(.*position 0\)"),
        (b"#" * 1_000_001, ": larger than 1000000 bytes, so hardly a configuration"),
        ("a: 2024-99-99", r": not YAML \(month must be in 1..12\)"),
    ],
)
def test_wrong_yaml(written, text, message):
    assert re.fullmatch(message, refusal(written(text)))


def test_files_that_cannot_be_read(tmp_path):
    assert refusal(tmp_path / "none.yaml") == ": No such file or directory"
    assert refusal(tmp_path) == ": Is a directory"


def test_random_bytes_are_refused_and_never_crash(written, rand):
    alphabet = b"abc:{}[]-*&!|>'\"#%@, \n\t\x00\xff0123"
    for _ in range(300):
        text = bytes(rand.choice(list(alphabet), rand.integers(1, 60)).astype("uint8"))
        try:
            assert load(written(text)) == Config()  # comments, empty documents
        except ConfigError:
            continue


def test_overrides_lie_over_the_file(written):
    path = written("detect: {score: 0.5, max_side: 320}\ntrack:\n")
    config = load(path, {"detect.score": 0.25, "track.improve": 0.5, "gallery": "/g"})
    assert (config.detect.score, config.detect.max_side, config.track.improve, config.gallery) == (0.25, 320, 0.5, "/g")
    assert refusal(path, {"detect.scor": 1}) == ": `detect.scor`: unknown; nearest valid is `detect.score`"
    assert refusal(None, {"detect.score": 2.0}) == ": `detect.score`: expected `float` <= 1.0"
    assert refusal(path, {"detect.score.x": 1}) == ": `detect.score.x` cannot be set, because `score` holds a float"


@pytest.mark.parametrize(
    ("address", "value", "filled"),
    [
        ("rtsp://me:${PASSWORD_1}@host/s", "plain", "rtsp://me:plain@host/s"),
        ("rtsp://me:${PASSWORD_1}@host/s", "a@b/c?d#e f", "rtsp://me:a%40b%2Fc%3Fd%23e%20f@host/s"),
        ("rtsp://me:${PASSWORD_1}@host/s", "a%40b", "rtsp://me:a%40b@host/s"),
        ("rtsp://me:p@${PASSWORD_1}:554/s", "192.0.2.7", "rtsp://me:p@192.0.2.7:554/s"),
        ("${PASSWORD_1}", "rtsp://me:p@host/s", "rtsp://me:p@host/s"),
        ("${PASSWORD_1}", "${PASSWORD_1}", "${PASSWORD_1}"),
        ("/photos/$HOME/$x", "", "/photos/$HOME/$x"),
    ],
)
def test_variables_in_addresses(written, monkeypatch, address, value, filled):
    monkeypatch.setenv("PASSWORD_1", value)
    assert load(written(f"sources: [{{address: '{address}'}}]")).sources[0].address == filled


def test_variables_that_are_not_there(written, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("IS_SET", "hunter2")
    path = written("sources: [{address: 'rtsp://${IS_SET}:${NOT_SET}@host/s'}]")
    assert refusal(path) == ": `sources[0].address`: the environment variable NOT_SET is not set"
    for wrong in ("${", "${IS_SET", "${a b}", "${}"):
        said = refusal(written(f"sources: [{{address: 'rtsp://${{IS_SET}}@host/{wrong}'}}]"))
        assert said == ": `sources[0].address`: `${` is not followed by a variable's name and `}`"
    # Other keys are no templates.
    assert load(written("gallery: '/g/${IS_SET}'")).gallery == "/g/${IS_SET}"


def test_no_password_in_messages_representations_or_dumps(written, monkeypatch):
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    path = written("sources: [{address: 'rtsp://me:${CAMERA_PASSWORD}@host/s?pwd=hunter2'}]")
    config = load(path)
    assert "hunter2" in config.sources[0].address
    assert config.sources[0].label == "rtsp://host/s?pwd=***"
    for text in (repr(config), str(config), dump(config), repr(config.sources[0].__rich_repr__())):
        assert "hunter2" not in text
        assert "rtsp://host/s?pwd=***" in text
    assert "hunter2" not in refusal(path, {"detect.score": "hunter"})
    twice = written("sources: [{address: 'rtsp://me:${CAMERA_PASSWORD}@host/s'}, {address: 'rtsp://me:x@host/s'}]")
    assert "hunter2" not in refusal(twice)


def test_the_password_of_the_broker_comes_from_the_environment_and_is_not_told(written, monkeypatch):
    monkeypatch.setenv("BROKER_PASSWORD", "hunter2 @/%")
    config = load(written("serve: {mqtt: {host: broker, user: me, password: '${BROKER_PASSWORD}'}}"))
    assert config.serve.mqtt.password == "hunter2 @/%"
    for text in (repr(config), dump(config), repr(config.serve.mqtt.__rich_repr__())):
        assert "hunter2" not in text
    assert refusal(written("serve: {mqtt: {password: '${NOT_SET}'}}")).startswith(": `serve.mqtt.password`: ")


def test_a_dump_reads_back(written):
    config = load(written("detect: {score: 0.5}\nsources: [{address: /photos, name: old}, {address: 'webcam:0'}]\n"))
    assert load(written(dump(config))) == config


def test_configurations_made_in_python_are_checked_too():
    with pytest.raises(ConfigError, match="two sources are called"):
        Config(sources=(Source(address="a"), Source(address="b", name="a")))
    with pytest.raises(ConfigError, match="they have to be decode"):
        Pipeline(watch=(Group(name="all", stages=("decode",)),))


def test_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path))
    assert data_folder() == tmp_path
    assert gallery_place(Config()) == tmp_path / "gallery"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert gallery_place(Config(gallery="g")) == tmp_path / "g"
    assert gallery_place(Config(gallery="~/g")) == Path("/home/somebody/g")
    monkeypatch.setenv("VULTUS_HOME", "here")
    assert data_folder() == tmp_path / "here"
    monkeypatch.setenv("VULTUS_HOME", "")
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert data_folder() == Path("/xdg/vultus")


def test_the_key_of_a_gallery(tmp_path, monkeypatch):
    monkeypatch.delenv("VULTUS_GALLERY_KEY", raising=False)
    assert gallery_key(Config()) is None
    file = tmp_path / "key"
    config = Config(store=Store(key_file=str(file)))
    for content in ("ab" * 32, "AB" * 32 + "\n", bytes.fromhex("ab" * 32)):
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert gallery_key(config) == b"\xab" * 32
    for content in (b"", b"ab" * 31, b"secret" * 20, b"\xff" * 64):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="holds no key, which is 64 hexadecimal digits") as caught:
            gallery_key(config)
        assert "secret" not in str(caught.value)
    monkeypatch.setenv("VULTUS_GALLERY_KEY", "cd" * 32)
    assert gallery_key(config) == b"\xcd" * 32
    monkeypatch.setenv("VULTUS_GALLERY_KEY", "hush")
    with pytest.raises(ConfigError, match="variable VULTUS_GALLERY_KEY holds no key") as caught:
        gallery_key(config)
    assert "hush" not in str(caught.value)

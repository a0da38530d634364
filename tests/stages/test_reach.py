"""Addresses that somebody typed: none leads into this machine, whatever it looks like."""

import socket
from typing import Any

import pytest

from vultus.configs.errors import ConfigError
from vultus.configs.loader import load
from vultus.configs.serving import Networks
from vultus.stages.reach import Forbidden, UnknownHost, allowed_addresses, check_camera, pinned

ANY = Networks()


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name mean these; literal addresses are themselves."""
    real = socket.getaddrinfo

    def found(host: str, port: int, **options: Any) -> list[Any]:
        if host.replace(".", "").isdigit() or ":" in host or host.startswith("0x"):
            return real(host, port, **options)
        return [entry for address in addresses for entry in real(address, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.9.9.9",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.1.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "240.0.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[ff02::1]",
        "[fd00:ec2::254]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
    ],
)
def test_what_is_special_is_refused(host: str) -> None:
    with pytest.raises(Forbidden, match=r"serve\.cameras\.networks"):
        check_camera(f"rtsp://u:secret@{host}/stream", ANY)


@pytest.mark.parametrize("host", ["192.168.1.7", "10.0.0.7", "172.16.3.4", "192.0.2.7", "[2001:db8::7]", "[fd12::7]"])
def test_cameras_live_in_ordinary_networks(host: str) -> None:
    check_camera(f"rtsp://u:p@{host}:8554/stream?channel=1", ANY)


def test_the_addresses_of_this_machine_are_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of a datagram socket: sends nothing
        except OSError:
            pytest.skip("this machine has no network besides its loopback")
        own = probe.getsockname()[0]
    with pytest.raises(Forbidden, match="this machine itself"):
        check_camera(f"rtsp://{own}/a", ANY)
    check_camera(f"rtsp://{own}/a", Networks(allowed=(f"{own}/32",)))


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "concat:rtsp://192.0.2.7/a",
        "gopher://192.0.2.7/",
        "unix:///run/docker.sock",
        "/etc/passwd",
        "webcam:0",
        "rtsp:///stream",
        "rtsp://192.0.2.7:0/",
        "rtsp://192.0.2.7:99999/",
        "rtsp://192.0.2.7/a\r\nX: y",
        "rtsp://192.0.2.7\t/a",
        "rtsp://192.0.2.7\\@127.0.0.1/",
        "rtsp://exa mple/",
        "rtsp://[::1%lo]/",
        "rtsp://[::1/",
        "rtsp://-a/",
        "http://192.0.2.7/live/index.m3u8",
        "http://192.0.2.7/live.mpd?x=1",
        "rtsp://192.0.2.7/" + "a" * 4096,
    ],
)
def test_what_is_no_address_of_a_camera_is_refused(address: str) -> None:
    with pytest.raises(Forbidden):
        check_camera(address, ANY)
    with pytest.raises(Forbidden):
        pinned(address, ANY)


def test_no_password_is_told() -> None:
    for address in ("rtsp://u:hunter2@127.0.0.1/", "rtsp://u:hunter2@/", "x://u:hunter2@127.0.0.1/"):
        with pytest.raises(Forbidden) as refused:
            check_camera(address, ANY)
        assert "hunter2" not in str(refused.value)


def test_what_the_configuration_says_goes_first() -> None:
    check_camera("rtsp://127.0.0.1:8554/a", Networks(allowed=("127.0.0.0/8",)))
    check_camera("rtsp://[::ffff:127.0.0.1]/a", Networks(allowed=("127.0.0.0/8", "::ffff:0:0/96")))
    with pytest.raises(Forbidden):
        check_camera("rtsp://127.0.0.1/a", Networks(allowed=("127.0.0.0/8",), refused=("127.0.0.1/32",)))
    with pytest.raises(Forbidden, match="refuses"):
        check_camera("rtsp://10.1.2.3/a", Networks(refused=("10.0.0.0/8",)))
    with pytest.raises(ConfigError, match="no network"):
        load(None, {"serve.cameras": {"networks": {"allowed": ["10.0.0.1/8"]}}})


def test_the_address_that_was_judged_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "192.0.2.7")
    target, options = pinned("http://u:p@camera.example:8080/a?b=c#d", ANY)
    assert target == "http://u:p@192.0.2.7:8080/a?b=c"
    assert options["headers"] == "Host: camera.example:8080\r\n"
    assert options["max_redirects"] == "0"
    resolving(monkeypatch, "127.0.0.1")  # the name means something else now
    with pytest.raises(Forbidden, match=r"camera\.example leads to 127\.0\.0\.1"):
        pinned("http://camera.example:8080/a", ANY)


def test_of_several_addresses_the_ordinary_ones_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "169.254.3.4", "192.168.1.7")
    assert allowed_addresses("camera.local", 554, ANY, "x") == ["192.168.1.7"]


def test_a_name_that_is_not_known_may_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    check_camera("rtsp://camera.example/a", ANY)
    with pytest.raises(UnknownHost, match=r"camera\.example is not known"):
        pinned("rtsp://camera.example/a", ANY)

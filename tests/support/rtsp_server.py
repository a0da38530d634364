#!/usr/bin/python3
"""An RTSP server on loopback for tests: `rtsp_server.py PORT [--user NAME:PASSWORD] MOUNT=FILE.mp4 ...`.

Runs under the system's Python, which has GStreamer's bindings. Each file (H.264 without B-frames) is taken apart once
and its access units are served in an endless loop without a gap, 25 a second, to all clients alike. Prints `READY` when
it listens.
"""

import argparse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtspServer  # noqa: E402 - GstApp gives appsink its methods

FRAMES_A_SECOND = 25
ROLE = "viewer"


def access_units(path: str) -> tuple[list[tuple[bytes, bool]], str]:
    """Every picture of a file as (bytes, whether others build on it alone), and the caps they have."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{path}" ! qtdemux ! h264parse config-interval=-1 '
        "! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false"
    )
    out = pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    units, caps = [], ""
    while (sample := out.emit("pull-sample")) is not None:
        buffer = sample.get_buffer()
        key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        units.append((buffer.extract_dup(0, buffer.get_size()), key))
        caps = sample.get_caps().to_string()
    pipeline.set_state(Gst.State.NULL)
    if not units:
        raise SystemExit(f"{path}: no H.264 in an MP4 file")
    return units, caps


class Loop(GstRtspServer.RTSPMediaFactory):
    """Serves one file for ever."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.units, self.caps = access_units(path)
        self.set_shared(True)

    def do_create_element(self, _url: object) -> Gst.Element:
        return Gst.parse_launch(
            "( appsrc name=source is-live=true format=time max-bytes=2000000 "
            "! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 config-interval=1 )"
        )

    def do_configure(self, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_by_name("source")
        source.set_property("caps", Gst.Caps.from_string(self.caps))
        sent = 0
        step = Gst.SECOND // FRAMES_A_SECOND

        def push(appsrc: GstApp.AppSrc, _wanted: int) -> None:
            nonlocal sent
            data, key = self.units[sent % len(self.units)]
            buffer = Gst.Buffer.new_wrapped(data)
            buffer.pts = buffer.dts = sent * step
            buffer.duration = step
            if not key:
                buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
            sent += 1
            appsrc.emit("push-buffer", buffer)

        source.connect("need-data", push)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port")
    parser.add_argument("mounts", nargs="+")
    parser.add_argument("--user")
    given = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(given.port)
    if given.user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", ROLE)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*given.user.split(":", 1)), token)
        server.set_auth(auth)
    for mount in given.mounts:
        name, path = mount.split("=", 1)
        factory = Loop(path)
        if given.user:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role(ROLE, "media.factory.access", True)
            permissions.add_permission_for_role(ROLE, "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(f"/{name}", factory)
    if not server.attach(None):
        raise SystemExit(f"port {given.port} is taken")
    print("READY", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()

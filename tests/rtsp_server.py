"""A real RTSP server for tests, run by the system's python3 (which has GStreamer's bindings).

    /usr/bin/python3 tests/rtsp_server.py MOUNT=FILE … [--login USER:PASSWORD]

Each mount serves an H.264 or H.265 MP4 from its start to each client, at its own pace. A mount
whose name ends in ``@loop`` is a live camera: it plays the file again and again, to all clients
alike, with time running on. Prints the port when it is ready.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtspServer  # noqa: E402

Gst.init(None)
_ = GstApp  # registers AppSrc and AppSink


def codec_of(path):
    """h264 or h265, by what qtdemux finds."""
    for codec, caps in (("h264", "video/x-h264"), ("h265", "video/x-h265")):
        pipeline = Gst.parse_launch(
            f"filesrc location={path} ! qtdemux ! {caps} ! fakesink num-buffers=1"
        )
        pipeline.set_state(Gst.State.PLAYING)
        message = pipeline.get_bus().timed_pop_filtered(
            5 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR
        )
        pipeline.set_state(Gst.State.NULL)
        if message is not None and message.type == Gst.MessageType.EOS:
            return codec
    raise SystemExit(f"{path}: neither H.264 nor H.265 in MP4")


def access_units(path, codec):
    """Every access unit with its times, read once."""
    pipeline = Gst.parse_launch(
        f"filesrc location={path} ! qtdemux ! {codec}parse config-interval=-1 ! "
        f"video/x-{codec},stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
    )
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(Gst.State.PLAYING)
    units = []
    while True:
        sample = sink.emit("try-pull-sample", 5 * Gst.SECOND)
        if sample is None:
            break
        units.append(sample.get_buffer())
    pipeline.set_state(Gst.State.NULL)
    return units


class Loop(GstRtspServer.RTSPMediaFactory):
    """A camera: the same access units for ever, with running timestamps."""

    def __init__(self, path, codec):
        super().__init__()
        self.units = access_units(path, codec)
        self.base = min(unit.dts for unit in self.units)
        ends = [unit.pts + unit.duration for unit in self.units]
        self.length = max(ends) - min(unit.pts for unit in self.units)
        self.set_shared(True)
        self.set_launch(
            f"( appsrc name=source is-live=true format=time do-timestamp=false "
            f"caps=video/x-{codec},stream-format=byte-stream,alignment=au ! {codec}parse ! "
            f"rtp{codec}pay name=pay0 config-interval=1 )"
        )
        self.connect("media-configure", self.configure)

    def configure(self, _, media):
        """Begin at the first access unit, which is a key frame."""
        source = media.get_element().get_by_name("source")
        state = {"next": 0}

        def push():
            turn, index = divmod(state["next"], len(self.units))
            unit = self.units[index].copy_deep()
            shift = turn * self.length - self.base
            unit.pts, unit.dts = unit.pts + shift, unit.dts + shift
            state["next"] += 1
            return source.emit("push-buffer", unit) == Gst.FlowReturn.OK

        def due():
            clock = source.get_clock()
            now = clock.get_time() - source.get_base_time() if clock else 0
            while state["next"] == 0 or self.due_at(state["next"]) <= now + 200 * Gst.MSECOND:
                if not push():
                    return False
            return True

        GLib.timeout_add(20, due)

    def due_at(self, number):
        """Running time at which an access unit is to be sent."""
        turn, index = divmod(number, len(self.units))
        return self.units[index].dts + turn * self.length - self.base


def serve(mounts, login):
    """Serve for ever."""
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    if login:
        protect(server, *login.split(":", 1))
    for mount in mounts:
        name, path = mount.split("=", 1)
        codec = codec_of(path)
        if name.endswith("@loop"):
            factory = Loop(path, codec)
        else:
            factory = GstRtspServer.RTSPMediaFactory()
            factory.set_launch(
                f"( filesrc location={path} ! qtdemux ! {codec}parse ! "
                f"rtp{codec}pay name=pay0 config-interval=1 )"
            )
        if login:
            factory.add_role_from_structure(
                Gst.Structure.new_from_string(
                    "user, media.factory.access=true, media.factory.construct=true"
                )
            )
            factory.add_role_from_structure(  # without access, clients get 404 and never log in
                Gst.Structure.new_from_string(
                    "anonymous, media.factory.access=true, media.factory.construct=false"
                )
            )
        server.get_mount_points().add_factory("/" + name, factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


def protect(server, user, password):
    """Ask for a login, by basic authentication."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    anonymous = GstRtspServer.RTSPToken()
    anonymous.set_string("media.factory.role", "anonymous")
    auth.set_default_token(anonymous)
    server.set_auth(auth)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    login_given = None
    if "--login" in arguments:
        at = arguments.index("--login")
        login_given = arguments[at + 1]
        del arguments[at : at + 2]
    serve(arguments, login_given)

"""How `vultus serve` is reached, what it lets in, and how much at once; part of `vultus.configs.schema`."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from msgspec import Meta, Struct

from vultus.configs.errors import ConfigError

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0.0, le=86_400.0)]
TOPIC_PATTERN = r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}$"
ADDRESS_PATTERN = r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,5}$"
HOST_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one caller may ask of the server, and all of them together."""

    upload_bytes: Annotated[int, Meta(ge=1_000, le=4_000_000_000)] = 32_000_000
    """Of one request's body; a larger one is answered with 413 before it is read."""
    at_once: Annotated[int, Meta(ge=1, le=1024)] = 8
    """Photos that are worked on at the same time."""
    searches: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Searches for faces that the gallery holds, at the same time; those that wait there are answered together."""
    waiting: Annotated[int, Meta(ge=0, le=100_000)] = 200
    """How many more may wait; beyond that the answer is 503 with Retry-After."""
    patience: Seconds = 5.0
    """Longest wait before the same answer."""
    rate: Annotated[float, Meta(ge=0.1, le=1e6)] = 500.0
    """Requests a second of one user, key or, before anybody signed in, address; beyond that the answer is 429."""
    burst: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """How many may come at once after a pause."""
    streams: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """Live pictures and followed events of one address at the same time."""
    connections: Annotated[int, Meta(ge=1, le=100_000)] = 256
    """Of one address at the same time; those of `serve.proxies` are not counted."""
    header_seconds: Seconds = 10.0
    """A request's headers have to be there within this time."""
    upload_seconds: Seconds = 30.0
    """A request's body may take this long, and for each `upload_rate` bytes another second."""
    upload_rate: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 20_000


class Sessions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long somebody stays signed in."""

    idle: Annotated[float, Meta(ge=60.0, le=2_592_000.0)] = 43_200.0
    """Seconds without a request."""
    longest: Annotated[float, Meta(ge=60.0, le=2_592_000.0)] = 604_800.0
    """Seconds in any case; 30 days at most."""


class Events(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log of what happened, behind which everything that is told of events stands."""

    keep_days: Annotated[float, Meta(gt=0.0, le=36_500.0)] | None = 30.0
    """Days after which events are deleted; none: never."""
    keep: Annotated[int, Meta(ge=1_000, le=100_000_000)] = 200_000
    """The newest so many events are kept, however young the others are."""


class Backup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Copies of the gallery and of the server's own data, made while both are used."""

    folder: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    """None = `backups` in the server's folder. Another disk is better."""
    every_hours: Annotated[float, Meta(gt=0.0, le=8760.0)] | None = None
    """None: only when asked."""
    keep: Annotated[int, Meta(ge=1, le=1000)] = 7
    """Older ones are deleted once so many newer ones are there."""


class Archives(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be indexed over the API and the pages."""

    folders: tuple[Annotated[str, Meta(min_length=1, max_length=4096)], ...] = ()
    """Folders of this machine; what lies elsewhere cannot be asked for."""
    upload_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = 20_000_000_000
    """Of all uploaded files together; 0: no uploads."""


Cidr = Annotated[str, Meta(pattern=r"^[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?$")]


class Networks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where addresses may lead that people give to the server."""

    allowed: tuple[Cidr, ...] = ()
    """Networks (`127.0.0.0/8`) that may be reached although they are special: loopback, link-local, this machine's own."""
    refused: tuple[Cidr, ...] = ()
    """Networks that may not be reached, whatever `allowed` says."""

    def __post_init__(self) -> None:
        import ipaddress

        for text in (*self.allowed, *self.refused):
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ConfigError(f"{text} is no network: {error}") from None


class Cameras(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cameras that are added over the API or the pages; those of `sources` may be anything."""

    networks: Networks = Networks()
    local: bool = False
    """Whether webcams and video files of this machine may be added too."""


class Webhooks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How events are handed to the receivers of webhooks."""

    networks: Networks = Networks()
    timeout: Annotated[float, Meta(gt=0.0, le=120.0)] = 10.0
    """Seconds within which a receiver has to answer."""
    at_once: Annotated[int, Meta(ge=1, le=100)] = 4
    """Receivers that are served at the same time."""
    retry_first: Seconds = 5.0
    retry_max: Seconds = 3600.0
    """First and longest pause before another attempt; they double."""
    give_up_after: Annotated[float, Meta(gt=0.0, le=2_592_000.0)] = 86_400.0
    """Seconds after which what a receiver that is away did not get becomes a dead letter."""


class Mqtt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A broker that is told of events."""

    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")] | None = None
    """None: no MQTT."""
    port: Annotated[int, Meta(ge=1, le=65_535)] = 1883
    tls: bool = False
    """Encrypted, with a certificate that the operating system or `ca_file` trusts; brokers have it on port 8883 mostly."""
    ca_file: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    user: Annotated[str, Meta(max_length=1024)] | None = None
    password: Annotated[str, Meta(max_length=1024)] | None = None
    """`${NAME}` in it is replaced from the environment, so that it stands in no file."""
    prefix: Annotated[str, Meta(pattern=TOPIC_PATTERN)] = "vultus"
    """Topics begin with it; two servers on one broker need two."""
    discovery: Annotated[str, Meta(pattern=TOPIC_PATTERN)] | None = "homeassistant"
    """Prefix under which Home Assistant looks for devices; none: it is told of none."""
    faces: bool = False
    """Whether the broker gets the clearest picture of the last face before each camera, and keeps it."""

    def __post_init__(self) -> None:
        if self.password is not None and self.user is None:
            raise ConfigError("a password goes with a `user`")

    def __repr__(self) -> str:
        # Tracebacks and logs show this.
        return f"Mqtt(host={self.host!r}, port={self.port}, user={self.user!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("host", self.host), ("port", self.port), ("user", self.user)]


class Serve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server of `vultus serve`: API, pages and events."""

    listen: Annotated[str, Meta(pattern=ADDRESS_PATTERN)] = "127.0.0.1:8470"
    """ADDRESS:PORT. Another address than this machine's own loopback wants users first."""
    folder: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    """Where the server keeps what is its own (users, cameras, events, jobs); none = `server` in the user's data folder."""
    key_file: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    """Key of the server's secrets at rest; none = `secrets.key` in the folder. `VULTUS_SERVER_KEY` goes before it."""
    log: Literal["text", "json"] = "text"
    """A line an event on standard error, for people or for programs."""
    hosts: tuple[Annotated[str, Meta(pattern=HOST_PATTERN)], ...] = ()
    """Names by which browsers may call the server, beside this machine's own loopback and the address it listens at."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    tls_certificate: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    """PEM file with the certificate and those of its issuers; with `tls_key` the server speaks https itself."""
    tls_key: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    sessions: Sessions = Sessions()
    limits: Limits = Limits()
    events: Events = Events()
    archives: Archives = Archives()
    backup: Backup = Backup()
    cameras: Cameras = Cameras()
    webhooks: Webhooks = Webhooks()
    mqtt: Mqtt = Mqtt()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"listen {self.listen}: a port is a number up to 65535")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("tls_certificate and tls_key belong together: give both or none")
        for proxy in self.proxies:
            try:
                ip_network(proxy)
            except ValueError:
                raise ConfigError(
                    f"proxies: {proxy!a:.100} is no address like 10.0.0.2 or network like 10.0.0.0/24"
                ) from None

    @property
    def host(self) -> str:
        """The address without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port; 0 lets the system choose a free one."""
        return int(self.listen.rpartition(":")[2])

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine's own programs can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

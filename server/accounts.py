"""Users, sessions and keys together: who a request is from, and signing in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TypeVar

from anyio import CapacityLimiter, to_thread
from msgspec import Struct
from starlette.requests import HTTPConnection

from vultus.configs.serving import Serve
from vultus.server.attempts import Attempts
from vultus.server.errors import WrongSetup
from vultus.server.keys import KEY, Keys
from vultus.server.problems import Problem
from vultus.server.roles import LOCAL, Principal
from vultus.server.sessions import Session, Sessions
from vultus.server.store import Store
from vultus.server.trail import Trail
from vultus.server.users import User, Users

_T = TypeVar("_T")
COOKIE = "vultus"
_AT_ONCE = 2
"""Passwords that are hashed at the same time, in 32 MiB each."""
_WAITING = 20
_FREE = {"account": 5, "account here": 10, "address": 20, "keys": 20}
"""Wrong attempts before waiting begins: for an account from where it never signed in, from where it did, and by address."""
_PLACES = 10_000
_HOW = {"WWW-Authenticate": "Bearer"}


class Visit(Struct, frozen=True, kw_only=True):
    """Who a request is from, found out from what it brought."""

    asker: Principal | None
    session: Session | None = None
    good: Callable[[], bool] = lambda: True
    """Whether it would be found out again now, for answers that go on for long."""


class Accounts:
    """A context manager; open while the server runs. What is async belongs to the server's event loop."""

    def __init__(self, store: Store, serve: Serve) -> None:
        self.users, self.keys, self.trail = Users(store), Keys(store), Trail(store)
        self.sessions = Sessions(store, serve.sessions)
        self._store, self._how_others_get_in = store, _how_others_get_in(serve)
        self._attempts = Attempts()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._hashing = CapacityLimiter(_AT_ONCE)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Raises WrongSetup (a ValueError) if others than this machine's own would get in without signing in."""
        if not self.users.any() and self._how_others_get_in is not None:
            raise WrongSetup(
                f"{self._how_others_get_in}, so people have to sign in, and there are no users yet; "
                "make the first one with `vultus users add NAME --role admin`"
            )
        self._reader = self._store.reader()
        self._open.callback(self._reader.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    async def visit(self, connection: HTTPConnection, address: str) -> Visit:
        """Who a request is from. Raises Problem for a key that is none, and for too many of those."""
        authorization = connection.headers.get("authorization")
        if authorization is not None:
            return await self._by_key(authorization, address)
        token = connection.cookies.get(cookie_name(connection))
        found = token is not None and self.sessions.find(self._reader, token)
        if token is not None and found:
            asker, session = found
            if self.sessions.stale(session):
                await to_thread.run_sync(self.sessions.used, session)
            return Visit(asker=asker, session=session, good=lambda: self._goes_on(asker, token))
        if self._open_to(connection):
            return Visit(asker=LOCAL, good=self._nobody_yet)
        return Visit(asker=None)

    async def login(self, name: str, password: str, address: str) -> User:
        """Raises Problem: one for whatever was wrong, and another for whom it was wrong too often."""
        account = name.casefold()
        place = (account, address)
        known = place in self._known
        one: Hashable = ("account", *place) if known else ("account", account)
        subjects = {one: _FREE["account here" if known else "account"], ("address", address): _FREE["address"]}
        self._wait(subjects, "too-many-logins")
        user = await self.hashing(lambda: self.users.check(name, password))
        if user is None:
            said = name if name.isprintable() else "?"
            await to_thread.run_sync(self.trail.note, "login-failed", said, address)
            raise Problem(401, "wrong-login", "Name or password is wrong.")
        self._attempts.forget(one)
        self._attempts.right(("address", address))
        self._known[place] = None
        if len(self._known) > _PLACES:
            self._known.popitem(last=False)
        return user

    def begun(self, token: str) -> tuple[Principal, Session]:
        """Whose session a token is that was just given out. Raises Problem if it has ended already."""
        found = self.sessions.find(self._reader, token)
        if found is None:
            raise nobody()
        return found

    async def hashing(self, work: Callable[[], _T]) -> _T:
        """Do in a thread what hashes a password, only so much at once. Raises Problem, a 503, if too much waits already."""
        if self._hashing.statistics().tasks_waiting >= _WAITING:
            raise Problem(503, "overloaded", "Too many sign in just now.", headers={"Retry-After": "2"})
        return await to_thread.run_sync(work, limiter=self._hashing)

    async def _by_key(self, authorization: str, address: str) -> Visit:
        scheme, _, text = authorization.partition(" ")
        text = text.strip()
        match = KEY.fullmatch(text)
        if scheme.lower() != "bearer" or match is None:
            raise _no_key()
        if not self.keys.remembered(text):
            self._wait({("keys", address): _FREE["keys"]}, "too-many-keys")
            if not await self.hashing(lambda: self.keys.right(text)):
                await to_thread.run_sync(self.trail.note, "key-refused", f"key {match[1]}", address)
                raise _no_key()
            self._attempts.right(("keys", address))
            self.keys.remember(text)
        found = self.keys.find(self._reader, text)
        if found is None:
            raise _no_key()
        if found.stale:
            await to_thread.run_sync(self.keys.used, match[1], address)
        return Visit(asker=found.principal, good=lambda: self._still_key(found.principal, text))

    def _goes_on(self, asker: Principal, token: str) -> bool:
        found = self.sessions.find(self._reader, token)
        return found is not None and found[0] == asker

    def _still_key(self, asker: Principal, text: str) -> bool:
        found = self.keys.find(self._reader, text)
        return found is not None and found.principal == asker

    def _nobody_yet(self) -> bool:
        return self._reader.execute("SELECT 1 FROM users LIMIT 1").fetchone() is None

    def _open_to(self, connection: HTTPConnection) -> bool:
        """Whether it comes from this machine itself, while there are no users; what a proxy hands on does not."""
        forwarded = any(name in connection.headers for name in ("forwarded", "x-forwarded-for", "via"))
        return self._how_others_get_in is None and not forwarded and self._nobody_yet()

    def _wait(self, subjects: dict[Hashable, int], kind: str) -> None:
        if (wait := self._attempts.begin(subjects)) > 0:
            seconds = int(wait) + 1
            detail = f"Too many wrong attempts; the next one counts in {seconds} seconds."
            raise Problem(429, kind, detail, headers={"Retry-After": str(seconds)})


def cookie_name(connection: HTTPConnection) -> str:
    """Over https a browser lets nobody but this very host set a cookie with that prefix."""
    return f"__Host-{COOKIE}" if secure(connection) else COOKIE


def secure(connection: HTTPConnection) -> bool:
    """Whether the browser's connection is encrypted, to us or to a proxy that we believe."""
    return connection.scope["scheme"] in ("https", "wss")


def _how_others_get_in(serve: Serve) -> str | None:
    if not serve.on_loopback:
        return f"{serve.listen} can be reached from other machines"
    if serve.proxies:
        return "serve.proxies hands on what comes from other machines"
    if serve.hosts:
        return "serve.hosts lets browsers of other machines in"
    return None


def nobody() -> Problem:
    """The answer to whom nobody knows."""
    return Problem(401, "unauthorized", "Sign in, or send an API key.", headers=_HOW)


def _no_key() -> Problem:
    return Problem(401, "wrong-key", "That is no API key of this server, or it has expired.", headers=_HOW)

"""What can go wrong with the server itself; every class is also the builtin that callers would catch."""

from __future__ import annotations


class ServerError(Exception):
    """Root of the server's errors."""


class ServerDataError(ServerError, OSError):
    """The server's own file cannot be opened, read or written."""

    __str__ = Exception.__str__


class WrongSetup(ServerError, ValueError):
    """The server cannot be started safely as it is configured; the message says what to change."""


class VaultError(ServerError, ValueError):
    """A secret cannot be opened: its key was changed, or the file."""


class CannotListen(ServerError, OSError):
    """The address is taken, or not one of this machine."""

    __str__ = Exception.__str__


class UnknownUser(ServerError, KeyError):
    """There is no such user."""

    __str__ = Exception.__str__


class UnknownKey(ServerError, KeyError):
    """There is no such API key."""

    __str__ = Exception.__str__


class NameInUse(ServerError, ValueError):
    """Another user or key has that name."""


class LastAdmin(ServerError, ValueError):
    """Nobody would be left who may manage the users."""


class WeakPassword(ServerError, ValueError):
    """A password that is too short, or among the first that anybody would try."""

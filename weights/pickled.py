"""Reads a pickle without unpickling it.

A pickle is a program. Here it is read instruction by instruction, and only those have a meaning that put data together:
dicts, lists, tuples, numbers, strings and bytes. A class or function that the file names is a `Name`, a thing without a value
that is never looked up; what a call of it stands for is up to the caller, who knows the few that the file's format needs.
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from vultus.weights.errors import ImportFailed

MOST_STEPS = 5_000_000
"""Instructions of a pickle. A ResNet-100's state dict takes some twenty thousand, a set of 12,000 pictures half a million."""
DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError, struct.error)
"""What a file can provoke in `pickletools` and below that does not hold what it says."""


class Name(Struct, frozen=True):
    """A class or function that the file names; never looked up, never called."""

    module: str
    name: str


class Nothing(Struct, frozen=True):
    """What a call of anything that is not known gives."""


def _outside(_identity: Any) -> Any:
    raise ImportFailed("its pickle refers to something outside the file")


def _left(_thing: Any, _state: Any) -> None:
    """The state of an object, for instance the versions that a state dict notes of its modules."""


def run(
    file: io.BytesIO,
    called: Callable[[Any, Any], Any],
    stored: Callable[[Any], Any] = _outside,
    built: Callable[[Any, Any], None] = _left,
) -> Any:
    """What the next pickle of `file` stands for.

    `called(function, arguments)` says what a call gives that the file asks for, usually of a `Name`; `stored(identity)` what
    a persistent id names; `built(thing, state)` puts a state into what a call gave. Raises ImportFailed for an instruction
    that data does not need, and whatever `pickletools` and Python raise for a program that makes no sense: DAMAGE.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        at = marks.pop()
        items = stack[at:]
        del stack[at:]
        return items

    argument: Any
    for steps, (code, argument, _) in enumerate(pickletools.genops(file)):
        if steps > MOST_STEPS:
            raise ImportFailed("its pickle is longer than any that is read here")
        match code.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "POP":
                stack.pop()
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[int(argument)] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[int(argument)])
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[code.name])
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_SET":
                stack.append(
                    {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}[code.name]()
                )
            case "TUPLE" | "LIST":
                stack.append((tuple if code.name == "TUPLE" else list)(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                n = int(code.name[-1])
                stack[-n:] = [tuple(stack[-n:])]
            case "APPEND":
                item = stack.pop()
                _into(stack[-1], [item])
            case "APPENDS" | "ADDITEMS":
                items = since_mark()
                _into(stack[-1], items)
            case "SETITEM":
                key, value = stack[-2:]
                del stack[-2:]
                _into(stack[-1], [key, value])
            case "SETITEMS":
                items = since_mark()
                _into(stack[-1], items)
            case "GLOBAL":
                stack.append(Name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                module, name = stack[-2:]
                stack[-2:] = [Name(str(module), str(name))]
            case "REDUCE" | "NEWOBJ":
                function, arguments = stack[-2:]
                stack[-2:] = [called(function, arguments)]
            case "BUILD":
                state = stack.pop()
                built(stack[-1], state)
            case "BINPERSID":
                stack.append(stored(stack.pop()))
            case _ if argument is not None:  # numbers, strings and bytes
                stack.append(argument)
            case _:
                raise ImportFailed(f"its pickle has the instruction {code.name}, which data does not need")
    raise ImportFailed("its pickle has no end")


def _into(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if isinstance(key, str | int) else repr(type(key))] = value
    elif not isinstance(target, Nothing):
        raise ImportFailed(f"its pickle puts items into a {type(target).__name__}")

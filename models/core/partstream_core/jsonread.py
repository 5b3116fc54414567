"""Reading JSON objects with errors that name the field.

A `Fields` wraps one object and knows its place in the document; what is missing or of the wrong type is
reported by the path of the field, such as ``people[2].parts[0].mask.size``.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Fail = Callable[[str, str], Exception]
"""Makes the error of a field: (path, message) -> exception."""


def value_error(path: str, message: str) -> Exception:
    """A ValueError that names the field."""
    return ValueError(f"{path}: {message}")


class Fields:
    """One JSON object and its path in the document."""

    def __init__(self, value: object, *, path: str = "", fail: Fail = value_error) -> None:
        self.path = path
        self._fail = fail
        if not isinstance(value, Mapping):
            raise fail(path or "document", f"must be an object, got {_kind(value)}")
        self._values: Mapping[str, Any] = value

    def error(self, name: str, message: str) -> Exception:
        """The error of a field of this object, with its path."""
        return self._fail(self._at(name), message)

    def get(self, name: str) -> Any:
        """The field as JSON gave it; it must be there."""
        if name not in self._values:
            raise self.error(name, "is missing")
        return self._values[name]

    def names(self) -> tuple[str, ...]:
        """The names of the fields that are there."""
        return tuple(self._values)

    def values(self) -> Mapping[str, Any]:
        """The whole object as JSON gave it."""
        return self._values

    def string(self, name: str) -> str:
        """A field that is a string with something in it."""
        value = self.get(name)
        if not isinstance(value, str) or not value:
            raise self.error(name, f"must be a string with text, got {_kind(value)}")
        return value

    def boolean(self, name: str) -> bool:
        """A field that is true or false."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise self.error(name, f"must be true or false, got {_kind(value)}")
        return value

    def integer(self, name: str, *, minimum: int | None = None) -> int:
        """A field that is a whole number."""
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(name, f"must be a whole number, got {_kind(value)}")
        if minimum is not None and value < minimum:
            raise self.error(name, f"must be at least {minimum}, got {value}")
        return value

    def number(self, name: str, *, minimum: float = -math.inf, maximum: float = math.inf) -> float:
        """A field that is a finite number."""
        return self._number(self.get(name), name, minimum, maximum)

    def numbers(self, name: str, *, length: int | None = None) -> tuple[float, ...]:
        """A field that is a list of finite numbers, of that length if one is given."""
        values = self.number_list(self.get(name), name)
        if length is not None and len(values) != length:
            raise self.error(name, f"must hold {length} numbers, got {len(values)}")
        return values

    def number_list(self, value: object, name: str) -> tuple[float, ...]:
        """A value from inside a field as a list of finite numbers; `name` is where it was found."""
        values = enumerate(self._as_list(value, name))
        return tuple(self._number(number, f"{name}[{at}]") for at, number in values)

    def strings(self, name: str) -> tuple[str, ...]:
        """A field that is a list of strings."""
        values = self._list(name)
        for at, value in enumerate(values):
            if not isinstance(value, str):
                raise self.error(f"{name}[{at}]", f"must be a string, got {_kind(value)}")
        return tuple(values)

    def items(self, name: str) -> tuple[Any, ...]:
        """A field that is a list of anything."""
        return tuple(self._list(name))

    def child(self, name: str) -> "Fields":
        """A field that is an object."""
        return Fields(self.get(name), path=self._at(name), fail=self._fail)

    def children(self, name: str) -> "Iterator[Fields]":
        """A field that is a list of objects."""
        for at, value in enumerate(self._list(name)):
            yield Fields(value, path=f"{self._at(name)}[{at}]", fail=self._fail)

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _list(self, name: str) -> list[Any]:
        return self._as_list(self.get(name), name)

    def _as_list(self, value: object, name: str) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise self.error(name, f"must be a list, got {_kind(value)}")
        return list(value)

    def _number(
        self, value: object, name: str, minimum: float = -math.inf, maximum: float = math.inf
    ) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(name, f"must be a finite number, got {_kind(value)}")
        if not minimum <= value <= maximum:
            raise self.error(name, f"must be between {minimum} and {maximum}, got {value}")
        return float(value)


def _kind(value: object) -> str:
    """The value as an error shows it: short things whole, others by type."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str) and len(value) <= 40:
        return repr(value)
    return type(value).__name__

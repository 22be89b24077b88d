"""A table that may be replaced as a whole while the service runs."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Published(Generic[T]):
    """Holds the table in force. Its one owner sets ``value``; all others read it anew for each event."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

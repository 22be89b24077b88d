"""Turns: who of the actors handles messages next, within one turn of the event loop.

A message on its way through several actors would cost a wake-up of a task, and a round of the loop with its
system call, for each of them. Here all that came with one look at the sockets goes through the whole system
at once: one callback gives turns, in the order in which the actors were sent something, until nobody is left
who had none yet. Whoever gets more to do after its turn has the next one in the next turn of the loop, so
that a flood, or two actors that send each other messages for ever, cannot keep the loop.
"""

import asyncio
import contextvars
from typing import Protocol


class Player(Protocol):
    """Whoever takes turns."""

    turn_number: int
    """Of the round in which it had its last turn; kept by ``Turns``, 0 before the first one."""

    def take_turn(self) -> None:
        """Do what there is to do, without waiting. Never raises."""


class Turns:
    """The line of those who have something to do; one for all actors that send each other messages."""

    __slots__ = ("_context", "_is_due", "_line", "_next", "_number")

    def __init__(self) -> None:
        self._line: list[Player] = []
        """Who has a turn in this round, or in the one that is due."""
        self._next: list[Player] = []
        """Who had one in this round, and has more to do."""
        self._number = 1
        """Of this round, or of the one that comes next."""
        self._is_due = False
        """The loop will call, or is in the middle of a round."""
        # Not that of whoever sends a message: a handler would log under the trace of somebody's request.
        self._context = contextvars.copy_context()

    def enter(self, player: Player) -> None:
        """Get a turn: in this round, or in the next one if there was one in this."""
        if player.turn_number == self._number:
            self._next.append(player)
        else:
            self._line.append(player)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._play, context=self._context)

    def _play(self) -> None:
        number = self._number
        for player in self._line:  # it grows meanwhile
            player.turn_number = number
            player.take_turn()
        self._number = number + 1
        self._line, self._next = self._next, []
        if self._line:
            asyncio.get_running_loop().call_soon(self._play, context=self._context)
        else:
            self._is_due = False

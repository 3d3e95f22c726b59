"""Questions out, answers in: a loop of our own, since Flower's waits for the slowest node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

__all__ = ["Patience", "content_or_reason", "exchange"]


@dataclass(frozen=True)
class Patience:
    """How long to wait, and for whom.

    Attributes
    ----------
    timeout : float
        Seconds from the first question on.
    quorum : int or None
        So many usable answers are enough to stop waiting for the others after `grace` seconds; None: all.
    grace : float
        Seconds.
    wave : int or None
        Nodes that are at work at a time; None: all. The server between holds the answers of a wave only.
    poll : float
        Seconds between two looks.
    """

    timeout: float = 600.0
    quorum: int | None = None
    grace: float = 5.0
    wave: int | None = None
    poll: float = 0.2


def exchange(
    grid: Grid, questions: Sequence[Message], patience: Patience, usable: Callable[[int, Message], bool]
) -> Iterator[tuple[int, Message]]:
    """Push the questions; number of a question and the reply to it, as they come, until nobody is left to wait for.

    Only replies that `usable` accepts count for the quorum, so that a quick liar closes no round. A reply is told by
    the question that it answers, for error replies do not carry the number of the node that failed. No reply is kept.
    """
    wave = patience.wave or len(questions)
    begun = time.monotonic()
    end = begun + patience.timeout
    waiting: dict[str, int] = {}
    asked = good = 0
    enough = min(patience.quorum or len(questions), len(questions))
    closing = False
    while asked < len(questions) or waiting:
        fresh = list(range(asked, min(len(questions), asked + wave - len(waiting))))
        if fresh:
            pushed = list(grid.push_messages([questions[k] for k in fresh]))
            waiting.update(zip(pushed, fresh, strict=True))
            asked += len(fresh)
        came = list(grid.pull_messages(list(waiting)))
        idle = not came
        while came:
            reply = came.pop()
            k = waiting.pop(reply.metadata.reply_to_message_id, None)
            if k is None:
                continue
            good += usable(k, reply)
            yield k, reply
            del reply
        if asked == len(questions) and good >= enough and not closing:
            closing, end = True, min(end, time.monotonic() + patience.grace)
        if time.monotonic() >= end:
            return
        if idle and waiting:
            time.sleep(min(patience.poll, max(0.0, end - time.monotonic())))


def content_or_reason(reply: Message) -> Any:
    """The content of a reply, or as a text the error that came in its place."""
    if reply.has_error():
        return str(reply.error.reason or f"error {reply.error.code}")[:200]
    return reply.content

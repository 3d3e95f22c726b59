"""A Flower grid in this process: for tests, and to see what the protocol costs without the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

__all__ = ["LocalGrid"]


class LocalGrid(Grid):
    """Nodes that are called when their messages are pushed; every message is serialized on both ways.

    Parameters
    ----------
    apps : mapping of str to flwr.clientapp.ClientApp
        Name of a node -> its app, or any function of a message and a context that gives a reply.
    silent : iterable of str
        Nodes that are there and never answer.
    node_config : mapping of str to mapping, optional
        Name of a node -> its `node_config`.

    Attributes
    ----------
    bytes_down, bytes_up : int
        What the messages to the nodes and from them took, as Flower's objects.
    contexts : dict
        Node number -> its context, with the state that it keeps.
    """

    def __init__(
        self,
        apps: Mapping[str, Callable[[Message, Context], Message]],
        *,
        silent: Iterable[str] = (),
        node_config: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        _identify()
        self.apps, self.silent = dict(apps), set(silent)
        config = node_config or {}
        self._numbers = {1000 + k: name for k, name in enumerate(self.apps)}
        self.contexts = {
            number: Context(
                run_id=1, node_id=number, node_config=dict(config.get(name, {})), state=RecordDict(), run_config={}
            )
            for number, name in self._numbers.items()
        }
        self._replies: dict[str, Message] = {}
        self.bytes_down = self.bytes_up = 0

    def set_run(self, run: Any) -> None:
        """There is one run only."""

    @property
    def run(self) -> Any:
        """None."""
        return None

    def create_message(
        self, content: Any, message_type: str, dst_node_id: int, group_id: str, ttl: Any = None
    ) -> Message:
        """A message, as its constructor makes it."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Numbers of the nodes."""
        return list(self._numbers)

    def get_nodes(self) -> Iterable[Any]:
        """Numbers and names of the nodes."""
        return [_NodeInfo(number, name) for number, name in self._numbers.items()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Call the nodes, one after the other."""
        pushed = []
        for message in messages:
            node = message.metadata.dst_node_id
            arrived, size = _through_the_wire(message)
            pushed.append(arrived.metadata.message_id)
            self.bytes_down += size
            if self._numbers[node] in self.silent:
                continue
            try:
                reply = self.apps[self._numbers[node]](arrived, self.contexts[node])
            except Exception as error:
                reply = Message(Error(2, f"{type(error).__name__}: {error}"), reply_to=arrived)
            reply, size = _through_the_wire(reply)
            self.bytes_up += size
            self._replies[pushed[-1]] = reply
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there."""
        return [self._replies.pop(i) for i in list(message_ids) if i in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The replies to the messages."""
        return list(self.pull_messages(self.push_messages(messages)))


class _NodeInfo:
    def __init__(self, node_id: int, name: str) -> None:
        self.node_id, self.name = node_id, name


def _through_the_wire(message: Message) -> tuple[Message, int]:
    """The message as it is on the other side, and the bytes that it took."""
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

    number = message.object_id
    objects = {key: value.deflate() for key, value in get_all_nested_objects(message).items()}
    arrived = inflate_object_from_contents(number, dict(objects))
    arrived.metadata.__dict__["_message_id"] = number
    message.metadata.__dict__["_message_id"] = number
    return arrived, sum(map(len, objects.values()))


def _identify() -> None:
    """Messages carry numbers of a run and a node, which Flower sets in its own processes: the one private name used."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1

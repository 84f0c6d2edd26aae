"""Background work, such as a search, a dialog or a plan; new work replaces the running work of its group."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from textual.dom import DOMNode
from textual.worker import Worker

T = TypeVar("T")


def set_off(node: DOMNode, group: str, work: Callable[..., Coroutine[Any, Any, T]], *words: Any) -> Worker[T]:
    """Set work on these words off in a group.

    Its coroutine is made only when it starts: one that is replaced before that is never made, so none is left unawaited.
    """

    async def made() -> T:
        return await work(*words)

    worker: Worker[Any] = node.run_worker(cast(Any, made), name=group, group=group, exclusive=True)
    return worker

"""Copies of a group, and a group in another size: which values are equal and which must differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.model.layout import Group, Shape

_PORT_STEP = 100
"""Distance of the KV ports of copies (vllm-ascend's DeepSeek-V4-Flash tutorial); for large groups a multiple of it."""
_LAST_PORT = 65535
_TRIES = 8192


def counted_names(groups: Mapping[str, Group]) -> dict[str, str]:
    """The copies that `count` adds: name → the copied group; `prefill2` is the first copy of `prefill`."""
    return {f"{name}{number}": name for name, group in groups.items() for number in range(2, group.count + 1)}


def group_in_shape(group: Group, shape: Shape) -> Group:
    """The group in another size."""
    parallel = group.data_parallel.model_copy(update={"size": shape.size, "per_node": shape.per_node})
    change = {"nodes": shape.nodes, "tensor_parallel": shape.tensor_parallel, "data_parallel": parallel}
    return group.model_copy(update=change)


def group_copy(group: Group, others: Iterable[Group]) -> Group:
    """A copy of the group for other nodes, with an engine id and a KV port that `others` do not use."""
    transfer = group.kv_transfer
    if transfer is None:
        return group
    taken_ids: set[str] = set()
    taken_ports: set[int] = set()
    for each in others:
        if each.kv_transfer is None:
            continue
        found = each.kv_transfer.engine_id
        taken_ids.update(found if isinstance(found, tuple) else [found] if found is not None else [])
        taken_ports.add(each.kv_transfer.port)
    fresh = []
    for engine in transfer.engine_id if isinstance(transfer.engine_id, tuple) else (transfer.engine_id,):
        if engine is not None:
            fresh.append(_free_id(engine, taken_ids))
            taken_ids.add(fresh[-1])
    engine_id = tuple(fresh) if isinstance(transfer.engine_id, tuple) else next(iter(fresh), None)
    change = {"engine_id": engine_id, "port": _free_port(group, transfer.port, taken_ports)}
    return group.model_copy(update={"kv_transfer": transfer.model_copy(update=change)})


def _free_port(group: Group, like: int, taken: set[int]) -> int:
    """The next free KV port above the ports of the group; the same port when none is free, because the nodes differ."""
    width = group.data_parallel.size * group.devices_per_rank
    step = -(-width // _PORT_STEP) * _PORT_STEP
    return next((port for port in range(like + step, _LAST_PORT - width, step) if port not in taken), like)


def _free_id(like: str, taken: set[str]) -> str:
    """An unused engine id: the next number, or the text with a number appended."""
    number = int(like) if like.isascii() and like.isdecimal() and len(like) < 10 else None
    tries = (str(number + step) if number is not None else f"{like}-{step + 1}" for step in range(1, _TRIES))
    return next(each for each in tries if each not in taken)

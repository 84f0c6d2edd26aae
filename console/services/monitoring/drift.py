"""What a running engine was launched with against what the deployment plans for it now. Pure; unknown is no difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from console.model.deployment import Rank


def drift(spec: Mapping[str, object], rank: Rank, tensor_parallel: int) -> tuple[str, ...]:
    """One line for each thing that a restart would change; `spec` is what was recorded at the launch."""
    argv = spec.get("argv")
    tp = _flag(argv, "--tensor-parallel-size") if isinstance(argv, list | tuple) else None
    devices = spec.get("devices")
    port = spec.get("port", rank.port)
    found = []
    if isinstance(devices, list | tuple) and rank.devices and tuple(devices) != rank.devices:
        found.append(f"devices {_span(devices)}, planned {_span(rank.devices)}")
    if port != rank.port:
        found.append(f"port {port if port is not None else 'none'}, planned {rank.port or 'none'}")
    if tp is not None and tp != str(tensor_parallel):
        found.append(f"TP {tp}, planned {tensor_parallel}")
    if isinstance(spec.get("dp_rank"), int) and spec["dp_rank"] != rank.dp_rank:
        found.append(f"rank {spec['dp_rank']}, planned {rank.dp_rank}")
    return tuple(found)


def _flag(argv: Sequence[object], name: str) -> str | None:
    words = [str(word) for word in argv]
    for at, word in enumerate(words):
        if word == name and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _span(devices: Sequence[object]) -> str:
    if not devices:
        return "none"
    numbers = [each for each in devices if isinstance(each, int)]
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(devices))):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(str(each) for each in devices)

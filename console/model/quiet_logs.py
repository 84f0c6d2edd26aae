"""Settings that hide the state of an engine in its log: levels above INFO, and other log formats.

vLLM 0.21: VLLM_LOGGING_LEVEL, VLLM_CONFIGURE_LOGGING and VLLM_LOGGING_CONFIG_PATH (envs.py) concern the lines of vLLM;
`--uvicorn-log-level` and `--log-config-file` concern those of the server, among them `Application startup complete`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FLAGS = ("uvicorn-log-level", "log-config-file")
_ABOVE_INFO = frozenset({"WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"})


def silenced_by(flags: Mapping[str, object], env: Mapping[str, object]) -> str:
    """The setting that hides lines of the log or changes its format, as `NAME=VALUE`; empty without one.

    `flags` are the given flags of FLAGS: name without dashes → value.
    """
    level = str(env.get("VLLM_LOGGING_LEVEL", ""))
    if level.upper() in _ABOVE_INFO:
        return f"VLLM_LOGGING_LEVEL={level}"
    if str(env.get("VLLM_CONFIGURE_LOGGING", "1")) == "0":
        return "VLLM_CONFIGURE_LOGGING=0"
    if path := env.get("VLLM_LOGGING_CONFIG_PATH"):
        return f"VLLM_LOGGING_CONFIG_PATH={path}"
    for name in FLAGS:
        value = flags.get(name)
        if value and (name != "uvicorn-log-level" or str(value).upper() in _ABOVE_INFO):
            return f"--{name}={value}"
    return ""


def flags_of(argv: Sequence[object]) -> dict[str, str]:
    """The flags of FLAGS in a command line: name → value."""
    found: dict[str, str] = {}
    for place, word in enumerate(argv):
        flag, equals, value = str(word).partition("=")
        name = flag.removeprefix("--").replace("_", "-")
        if flag.startswith("--") and name in FLAGS:
            found[name] = value if equals else str(next(iter(argv[place + 1 : place + 2]), ""))
    return found

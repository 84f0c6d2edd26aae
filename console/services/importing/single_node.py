"""vllm-ascend's single-node CI configurations (`test_cases`), as one engine on one node.

Source: vllm-ascend tests/e2e/nightly/single_node/models/scripts/single_node_config.py. Benchmarks are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import JsonValue

from console.files import Document
from console.services.importing.shell_scripts import Followed, Started, Unknown, Unknowns, fault
from console.services.importing.shell_scripts.unknowns import without_private

_PORT_KEYS = ("SERVER_PORT", "ENCODE_PORT", "PD_PORT", "PROXY_PORT")
_FREE_PORT = "8000"
_READ = {"name", "model", "envs", "server_cmd", "server_cmd_extra", "service_mode"}
_OF_THE_TEST = {
    *("benchmarks", "prompts", "api_keyword_args", "test_content", "expected_response", "mm_request"),
    "benchmark_comparisons_args",
}
"""What their tests ask of the running service; nothing of it is started."""
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


def is_single_node(document: Document) -> bool:
    """Whether the document is one of these configurations."""
    return isinstance(document.value, dict) and "test_cases" in document.value


def read_single_node(document: Document, unknowns: Unknowns) -> Followed:
    """What one of its cases starts; `--set case=NAME` chooses one of several. Raises FileError with line and key."""
    return _Reader(document, unknowns).read()


class _Reader:
    """Reads one configuration."""

    def __init__(self, document: Document, unknowns: Unknowns) -> None:
        self._source = document.source
        self._value = document.value
        self._unknowns = unknowns
        self._found = Followed(unknowns, notes=[str(problem) for problem in document.problems])

    def read(self) -> Followed:
        """The chosen case."""
        cases = self._value.get("test_cases") if isinstance(self._value, dict) else None
        if not isinstance(cases, list) or not cases or not all(isinstance(each, dict) for each in cases):
            raise self._fault("must be a list of cases that is not empty", "test_cases")
        named = [str(each.get("name")) for each in cases if isinstance(each, dict)]
        chosen = self._unknowns.given("case")
        if chosen is None and len(cases) > 1:
            message = f"there are {len(cases)} cases; a layout is one of them"
            raise self._fault(message, "test_cases", hint=f"choose: --set case={named[0]} (or {', '.join(named[1:])})")
        if chosen is not None and chosen not in named:
            raise self._fault(f"there is no case {chosen!r} (cases: {', '.join(named)})", "test_cases")
        at = 0 if chosen is None else named.index(chosen)
        case = cases[at]
        assert isinstance(case, dict)
        self._case(at, case)
        return self._found

    def _case(self, at: int, case: Mapping[str, JsonValue]) -> None:
        if case.get("service_mode", "openai") != "openai":
            mode = case.get("service_mode")
            raise self._fault(
                f"{mode!r}: encoders on their own are no role of a layout", "test_cases", at, "service_mode"
            )
        model = case.get("model")
        if not isinstance(model, str) or not model:
            raise self._fault("must be a text", "test_cases", at, "model")
        env = self._environment(at, case)
        keys = ("server_cmd", "server_cmd_extra") if "server_cmd_extra" in case else ("server_cmd",)
        given = [str(word) for key in keys for word in self._list(at, case, key)]
        words = [self._put(without_private(word), env, at) for word in given]
        for key in case:
            if key in ("kv_pool", "special_dependencies"):
                what = (
                    "its KV pool server is not started"
                    if key == "kv_pool"
                    else "packages it wants are left to the image"
                )
                self._note(what, "test_cases", at, key)
            elif key not in _READ | _OF_THE_TEST:
                self._note("is not a key of these files", "test_cases", at, key)
        mark = self._source.mark("test_cases", at, "server_cmd")
        self._found.started.append(Started(self._source.path, mark.line if mark else 0, (model, *words), env))

    def _environment(self, at: int, case: Mapping[str, JsonValue]) -> dict[str, str]:
        written = case.get("envs") or {}
        if not isinstance(written, dict):
            raise self._fault("must be a mapping", "test_cases", at, "envs")
        env = {name: without_private(str(value)) for name, value in written.items()}
        for name in _PORT_KEYS:
            used = written.get(name) == "DEFAULT_PORT" or (name not in written and self._uses(case, name))
            if used:
                env[name] = _FREE_PORT
                self._note(f"{name} is any free port there; {_FREE_PORT} is taken", "test_cases", at, "envs")
        return env

    def _uses(self, case: Mapping[str, JsonValue], name: str) -> bool:
        words = [str(case.get("server_cmd")), str(case.get("server_cmd_extra"))]
        return any(re.search(rf"\$\{{?{name}\b", text) for text in words)

    def _put(self, word: str, env: Mapping[str, str], at: int) -> str:
        mark = self._source.mark("test_cases", at, "server_cmd")

        def put(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            value = env.get(name, self._unknowns.given(name))
            unknown = Unknown(self._source.path, mark.line if mark else 0, f"${name}", name)
            return self._unknowns.mark(unknown) if value is None else value

        return _VARIABLE.sub(put, word)

    def _list(self, at: int, case: Mapping[str, JsonValue], key: str) -> list[JsonValue]:
        value = case.get(key)
        if not isinstance(value, list):
            raise self._fault("must be a list of words", "test_cases", at, key)
        return value

    def _note(self, message: str, *path: str | int) -> None:
        self._found.notes.append(f"{self._source.where(*path)}: {path[-1]}: {message}")

    def _fault(self, message: str, *path: str | int, hint: str = "") -> Exception:
        mark = self._source.mark(*path)
        return fault(self._source.path, mark.line if mark else 0, message, ".".join(map(str, path)), hint)

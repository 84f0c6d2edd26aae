"""Kubernetes manifests: LeaderWorkerSets, and other objects with pods, as engines on one node for each pod.

Source: LeaderWorkerSet API leaderworkerset.x-k8s.io/v1 (variables LWS_*, names of pods); Kubernetes for `$(NAME)` in commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from console.files import Document
from console.model.shortening import shortened
from console.services.importing.environment import substituted
from console.services.importing.rank_marks import mark
from console.services.importing.shell_scripts import Followed, Script, Unknown, Unknowns, contained_start, fault
from console.services.importing.shell_scripts.unknowns import without_private

_SET = "LeaderWorkerSet"
_WITH_PODS = (_SET, "Deployment", "StatefulSet", "DaemonSet", "Job", "Pod", "ReplicaSet")
_QUIET = ("Service", "ConfigMap", "Namespace", "PersistentVolumeClaim", "PersistentVolume", "ServiceAccount")
_LWS = ("LWS_LEADER_ADDRESS", "LWS_GROUP_SIZE", "LWS_WORKER_INDEX")
"""Variables that every pod of a set is given."""
_MOST_PODS = 256
_CONTAINER_READ = {"name", "image", "command", "args", "env", "envFrom"}
_CONTAINER_QUIET = {
    "readinessProbe",
    "livenessProbe",
    "startupProbe",
    "ports",
    "imagePullPolicy",
    "terminationMessagePolicy",
}


def is_manifest(document: Document) -> bool:
    """Whether the document is an object of Kubernetes."""
    value = document.value
    return isinstance(value, dict) and isinstance(value.get("kind"), str) and "apiVersion" in value


def read_manifests(documents: Sequence[Document], unknowns: Unknowns, files: Mapping[str, Script]) -> Followed:
    """What the pods of all objects start. `files` are the given scripts by name."""
    found = Followed(unknowns)
    maps = {_name(each): _mapping(_mapping(each.value).get("data")) for each in documents if _kind(each) == "ConfigMap"}
    for document in documents:
        if _kind(document) in _WITH_PODS:
            _Object(document, maps, files, found).read()
        elif _kind(document) not in _QUIET:
            found.notes.append(
                f"{document.source.where('kind')}: {_kind(document)} {_name(document)}: is not carried over"
            )
    return found


def _kind(document: Document) -> str:
    return str(_mapping(document.value).get("kind"))


def _name(document: Document) -> str:
    return str(_mapping(_mapping(document.value).get("metadata")).get("name") or "")


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


class _Object:
    """Reads one object that has pods."""

    def __init__(
        self,
        document: Document,
        maps: Mapping[str, Mapping[str, JsonValue]],
        files: Mapping[str, Script],
        found: Followed,
    ) -> None:
        self._document = document
        self._maps = maps
        self._given = files
        self._unknowns = found.unknowns
        self._found = found
        self._name = _name(document)

    def read(self) -> None:
        """Add what its pods start."""
        before = self._count()
        for index, (path, template) in enumerate(self._pods()):
            node = f"{self._name}-{index}"
            self._found.hosts[f"{self._name}-0" + (f"-{index}" if index else "") + f".{self._name}"] = node
            self._pod(index, node, path, template)
        if before == self._count():
            path, template = next(iter(self._pods()))
            words = [
                str(word)
                for each in _containers(template)
                for key in ("command", "args")
                for word in _list(each.get(key))
            ]
            shown = shortened(" ".join(" ".join(words).split()), 80)
            message = f"{self._name}: its pods run `{shown}`, which starts no `vllm serve` that can be read here"
            seen = next((note for note in self._found.notes if "import FILE" in note), "")
            hint = seen or "give the script that it runs as a FILE too, or import the command that it leads to"
            raise fault(self._document.source.path, self._line(*path), message, hint=hint)

    def _count(self) -> int:
        return len(self._found.started) + len(self._found.proxies) + len(self._found.services)

    def _pods(self) -> Iterator[tuple[tuple[str, ...], Mapping[str, JsonValue]]]:
        """The template of every pod that is a node."""
        spec = _mapping(_mapping(self._document.value).get("spec"))
        if _kind(self._document) == "Pod":
            yield (), _mapping(self._document.value)
            return
        replicas = spec.get("replicas", 1)
        if isinstance(replicas, int) and replicas > 1:
            self._note(
                f"{replicas} replicas: the layout has one; give its groups `count: {replicas}`", "spec", "replicas"
            )
        if _kind(self._document) != _SET:
            yield ("spec", "template"), _mapping(spec.get("template"))
            return
        path = ("spec", "leaderWorkerTemplate")
        templates = _mapping(spec.get("leaderWorkerTemplate"))
        size = templates.get("size", 1)
        if not isinstance(size, int) or not 0 < size <= _MOST_PODS:
            raise fault(
                self._document.source.path, self._line(*path, "size"), f"{size!r} pods", ".".join((*path, "size"))
            )
        worker = _mapping(templates.get("workerTemplate"))
        yield (*path, "leaderTemplate"), _mapping(templates.get("leaderTemplate")) or worker
        if size > 1 and not worker:
            self._note("there is no workerTemplate; what the leader says is taken for the whole group", *path, "size")
        for _ in range(size - 1 if worker else 0):
            yield (*path, "workerTemplate"), worker

    def _pod(self, index: int, node: str, path: tuple[str, ...], template: Mapping[str, JsonValue]) -> None:
        files = {**self._given, **dict(self._files(template))}
        for at, container in enumerate(_containers(template)):
            place: tuple[str | int, ...] = (*path, "spec", "containers", at)
            env = self._environment(index, place, container)
            words = [*self._words(container.get("command"), env), *self._words(container.get("args"), env)]
            image = str(container.get("image") or "")
            if words and "command" not in container:
                words = (
                    ["vllm", *words] if words[0] == "serve" else ["vllm", "serve", *words] if "vllm" in image else words
                )
            line = self._line(*place, "command") or self._line(*place)
            source = self._document.source.path
            given = contained_start(words, env, self._unknowns, (source, line), image=image, node=node, files=files)
            plumbing = {*_LWS, *self._own_names(container)}
            self._found.started += [
                replace(
                    each,
                    env={name: text for name, text in each.env.items() if name not in plumbing},
                    group=self._name if _kind(self._document) == _SET else "",
                )
                for each in given.started
            ]
            self._found.proxies += [each for each in given.proxies if each not in self._found.proxies]
            self._found.services += [each for each in given.services if each not in self._found.services]
            self._found.questions += given.questions
            self._found.notes += [each for each in given.notes if each not in self._found.notes]
            left = [key for key in container if key not in _CONTAINER_READ | _CONTAINER_QUIET]
            if given.started and left:
                self._note(
                    f"{', '.join(left)}: of the pod, not carried over: the console makes its own containers", *place
                )

    def _own_names(self, container: Mapping[str, JsonValue]) -> Iterator[str]:
        """Variables that give a pod its own address; the console sets the address itself."""
        for entry in _list(container.get("env")):
            if "fieldRef" in _mapping(_mapping(entry).get("valueFrom")):
                yield str(_mapping(entry).get("name"))

    def _files(self, template: Mapping[str, JsonValue]) -> Iterator[tuple[str, Script]]:
        """Scripts in the volumes of a pod."""
        for volume in _list(_mapping(template.get("spec")).get("volumes")):
            named = _mapping(_mapping(volume).get("configMap")).get("name")
            for key, text in self._maps.get(str(named), {}).items():
                yield key, Script(f"{self._document.source.path}:{named}:{key}", without_private(str(text)))

    def _environment(
        self, index: int, path: tuple[str | int, ...], container: Mapping[str, JsonValue]
    ) -> dict[str, str]:
        size = _mapping(_mapping(_mapping(self._document.value).get("spec")).get("leaderWorkerTemplate")).get("size", 1)
        env: dict[str, str] = {}
        if _kind(self._document) == _SET:
            env = {
                "LWS_LEADER_ADDRESS": mark("dp_address"),
                "LWS_GROUP_SIZE": str(size),
                "LWS_WORKER_INDEX": str(index),
            }
        for each in _list(container.get("envFrom")):
            named = str(_mapping(_mapping(each).get("configMapRef")).get("name"))
            if named not in self._maps:
                self._note("the object it names was not given; its variables are missing here", *path, "envFrom")
            env |= {key: str(text) for key, text in self._maps.get(named, {}).items()}
        for at, entry in enumerate(_list(container.get("env"))):
            given = _mapping(entry)
            name, line = str(given.get("name")), self._line(*path, "env", at)
            if "valueFrom" in given:
                env[name] = self._value_from(name, _mapping(given.get("valueFrom")), line)
            else:
                value = given.get("value")
                text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
                env[name] = substituted(without_private(text), env)
        return env

    def _value_from(self, name: str, source: Mapping[str, JsonValue], line: int) -> str:
        field = str(_mapping(source.get("fieldRef")).get("fieldPath"))
        if field in ("status.podIP", "status.hostIP"):
            return mark("address")
        chosen = _mapping(source.get("configMapKeyRef"))
        data = self._maps.get(str(chosen.get("name")), {})
        if str(chosen.get("key")) in data:
            return str(data[str(chosen.get("key"))])
        given = self._unknowns.given(name)
        unknown = Unknown(self._document.source.path, line, f"${name}", name)
        return self._unknowns.mark(unknown) if given is None else given

    def _words(self, value: JsonValue, env: Mapping[str, str]) -> list[str]:
        return [substituted(without_private(str(word)), env) for word in _list(value)]

    def _line(self, *path: str | int) -> int:
        found = self._document.source.mark(*path)
        return found.line if found else 0

    def _note(self, message: str, *path: str | int) -> None:
        note = f"{self._document.source.where(*path)}: {self._name}: {message}"
        self._found.notes += [note] if note not in self._found.notes else []


def _containers(template: Mapping[str, JsonValue]) -> list[Mapping[str, JsonValue]]:
    return [_mapping(each) for each in _list(_mapping(template.get("spec")).get("containers"))]

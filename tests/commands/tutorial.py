"""The tutorial's own commands, taken from its text by running its shell blocks with a real bash. For comparison only."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.shared import SHARED

TEXT = SHARED / "seed" / "DeepSeek-V4-Pro-tutorial.txt"

DUMPER = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["TUTORIAL_DUMP"], "a") as file:
    file.write(json.dumps({{"argv": ["vllm", *sys.argv[1:]], "env": dict(os.environ)}}) + "\\n")
"""


@dataclass(frozen=True)
class Said:
    """What the tutorial starts for one rank."""

    env: dict[str, str]
    argv: tuple[str, ...]


def _block(lines: list[str], start: str, after: int) -> tuple[str, int]:
    """The shell block that starts with a line like `start` after line `after`, dedented, and where it ends."""
    first = next(i for i in range(after, len(lines)) if lines[i].strip().startswith(start))
    indent = len(lines[first]) - len(lines[first].lstrip())
    last = first
    for i in range(first, len(lines)):
        text = lines[i]
        if text.strip() and len(text) - len(text.lstrip()) < indent:
            break
        if re.match(r"^\s*(Node\d|Key Parameter|Start the server|\d+\. \S)", text) and i > first:
            break
        if text.strip():
            last = i
    return textwrap.dedent("\n".join(lines[first : last + 1])), last + 1


def _run(script: str, args: list[str], tmp: Path) -> Said:
    tmp.mkdir(parents=True, exist_ok=True)
    tool = tmp / "vllm"
    tool.write_text(DUMPER)
    tool.chmod(0o755)
    (tmp / "sysctl").write_text("#!/bin/sh\nexit 0\n")
    (tmp / "sysctl").chmod(0o755)
    dump = tmp / "dump.jsonl"
    dump.unlink(missing_ok=True)
    env = {"PATH": f"{tmp}:/usr/bin:/bin", "TUTORIAL_DUMP": str(dump)}
    subprocess.run(["bash", "-s", "--", *args], input=script, text=True, env=env, check=True, capture_output=True)
    said = json.loads(dump.read_text())
    own = {name for name in said["env"] if name in ("PWD", "SHLVL", "_", "PATH", "TUTORIAL_DUMP", "LC_CTYPE", "IFNAME")}
    return Said({name: value for name, value in said["env"].items() if name not in own}, tuple(said["argv"]))


def _filled(block: str, local_ip: str, node0_ip: str) -> str:
    block = re.sub(r"(?m)^(local_ip)=.*$", rf"\1={local_ip}", block)
    block = re.sub(r"(?m)^(node0_ip)=.*$", rf"\1={node0_ip}", block)
    return re.sub(r"(?m)^(?:export )?(nic_name|IFNAME)=.*$", r"export \1=eth9", block).replace(
        "export nic_name", "nic_name"
    )


def mixed(which: str, addresses: list[str], tmp: Path) -> list[Said]:
    """The commands of section 5.1 for `a2` (four nodes) or `a3` (two), node by node as the tutorial assigns its scripts."""
    lines = TEXT.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("5.1 Multi-Node Online"))
    blocks: list[str] = []
    for start in ('local_ip="xxx"', 'local_ip="xxx"', 'nic_name="xxx"', 'nic_name="xxx"'):
        text, at = _block(lines, start, at)
        blocks.append(text)
    first, others = blocks[:2] if which == "a2" else blocks[2:]
    scripts = [first] + [others] * (len(addresses) - 1)
    return [
        _run(_filled(script, address, addresses[0]), [], tmp / str(index))
        for index, (script, address) in enumerate(zip(scripts, addresses, strict=True))
    ]


def template(which: str, role: str) -> str:
    """The run_dp_template.sh of a role in section 5.2.1 (`a3`) or 5.2.2 (`a2`), as it stands there."""
    lines = TEXT.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("5.2.1 A3" if which == "a3" else "5.2.2 A2"))
    blocks = []
    for _ in range(3 if which == "a3" else 2):
        text, at = _block(lines, "nic_name=", at)
        blocks.append(text)
    return blocks[0 if role == "prefill" else -1]


def separated(which: str, prefill: list[str], decode: list[str], tmp: Path) -> dict[str, list[Said]]:
    """The commands of section 5.2.1 (`a3`) or 5.2.2 (`a2`), rank by rank, through its launch_online_dp.py arguments."""
    lines = TEXT.read_text().splitlines()
    section = "5.2.1 A3 Series" if which == "a3" else "5.2.2 A2 Series"
    at = next(i for i, line in enumerate(lines) if line.startswith(section))
    templates: list[str] = []
    for _ in range(3 if which == "a3" else 2):
        text, at = _block(lines, "nic_name=", at)
        templates.append(text)
    by_node = (
        [*templates[:-1], *[templates[-1]] * len(decode)]
        if which == "a3"
        else ([templates[0]] * len(prefill) + [templates[1]] * len(decode))
    )
    launches = [line for line in lines[at:] if line.strip().startswith("python launch_online_dp.py")]
    found: dict[str, list[Said]] = {"prefill": [], "decode": []}
    for index, address in enumerate((*prefill, *decode)):
        options = dict(re.findall(r"--([a-z-]+) (\S+)", launches[index]))
        head = (prefill + decode)[int(options["dp-address"].rpartition(".")[2]) - 1]
        width = int(options["tp-size"])
        for local in range(int(options["dp-size-local"])):
            args = [
                ",".join(str(device) for device in range(local * width, (local + 1) * width)),
                str(int(options["vllm-start-port"]) + local),
                options["dp-size"],
                str(int(options["dp-rank-start"]) + local),
                head,
                options["dp-rpc-port"],
                options["tp-size"],
            ]
            said = _run(_filled(by_node[index], address, ""), args, tmp / f"{index}-{local}")
            found["prefill" if index < len(prefill) else "decode"].append(said)
    return found

"""`pip` of a demo node: only `pip show`, with the versions of its image (others than vLLM's: those of v0.21.0rc1)."""

from __future__ import annotations

import sys

from console.demo.release import RELEASE, VLLM

VERSIONS = {
    "vllm": f"{VLLM}+empty",
    "vllm-ascend": RELEASE,
    "torch": "2.10.0",
    "torch-npu": "2.10.0",
    "triton-ascend": "3.2.1",
    "mooncake-transfer-engine": "0.3.9",
    "ais-bench-benchmark": "3.1.0",
}


def main() -> int:
    """Run as the program."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if words[:1] != ["show"]:
        sys.stderr.write("ERROR: only 'pip show' is simulated\n")
        return 1
    known = [name.replace("_", "-") for name in words[1:] if name.replace("_", "-") in VERSIONS]
    missing = [name for name in words[1:] if name.replace("_", "-") not in VERSIONS]
    if missing:
        sys.stderr.write(f"WARNING: Package(s) not found: {', '.join(missing)}\n")
    sys.stdout.write("---\n".join(f"Name: {name}\nVersion: {VERSIONS[name]}\nSummary: \n" for name in known))
    return 0 if known else 1


if __name__ == "__main__":
    sys.exit(main())

"""The proxy of a lab: the simulated one under the name of vllm-ascend's, whose own is a part of the image."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
os.environ.setdefault("DSV4_DEMO_DIR", os.getcwd())
os.environ.setdefault("DSV4_DEMO_ADDRESS", sys.argv[sys.argv.index("--dp-hosts") + 1])

from console.demo import proxy
from console.demo.tools.demo_node import this_node

sys.exit(proxy.main(sys.argv[0], sys.argv[1:], this_node()))

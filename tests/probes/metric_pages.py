"""Pages of metrics as a session gets them: read on the node, sent in a frame, validated."""

from __future__ import annotations

import json
from dataclasses import replace

from console.node.metrics_text import wanted_lines
from console.node.questions import read_figures
from console.probes.metrics import Scrape
from console.remote.answer_decoding import figures


def parse_metrics(data: bytes, at: float) -> Scrape:
    """What a page says at a time."""
    return replace(figures(json.loads(json.dumps(read_figures(wanted_lines(data)), allow_nan=False))), at=at)

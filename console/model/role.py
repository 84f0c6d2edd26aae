"""What a rank is for; a word of its own, because pictures need it without everything a deployment is computed from."""

from __future__ import annotations

from typing import Literal

RankRole = Literal["prefill", "decode", "mixed", "proxy"]

"""Finds the access log lines of the console's own polling, by the address of the client and the path.

uvicorn writes neither a time nor a user agent. A failed request is worth reading, so it does not count as polling.
"""

from __future__ import annotations

import re
from functools import lru_cache

from console.model.polling import POLLS

ALWAYS = b"INFO:     "
"""What every such line has, whoever asks for what."""


@lru_cache(maxsize=256)
def polls_from(*clients: str) -> re.Pattern[bytes]:
    """A pattern for lines in which one of these addresses requests a polling path and gets 200.

    It starts with plain text and ends at the end of the line, so that one pass over many lines is fast and finds each once.
    """
    addresses = "|".join(map(re.escape, clients))
    paths = "|".join(map(re.escape, POLLS))
    text = rf'{ALWAYS.decode()}(?:{addresses}):\d{{1,5}} - "GET (?:{paths}) HTTP/1\.[01]" 200 OK(?=\r?$)'
    return re.compile(text.encode(), re.MULTILINE)

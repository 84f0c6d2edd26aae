"""Lines of an engine's access log by which this console itself asked, known by the client's address and the path.

uvicorn writes neither a time nor a user agent. A question that failed is worth reading, so it counts as nobody's polling.
"""

from __future__ import annotations

import re
from functools import lru_cache

from console.model.polling import POLLS


@lru_cache(maxsize=256)
def polls_from(*clients: str) -> re.Pattern[bytes]:
    """An expression that finds the lines by which one of these addresses asked a path of polling and was answered 200.

    It starts with plain text and ends at the end of the line, so that one pass over many lines is fast and finds each once.
    """
    addresses = "|".join(map(re.escape, clients))
    paths = "|".join(map(re.escape, POLLS))
    text = rf'INFO:     (?:{addresses}):\d{{1,5}} - "GET (?:{paths}) HTTP/1\.[01]" 200 OK(?=\r?$)'
    return re.compile(text.encode(), re.MULTILINE)

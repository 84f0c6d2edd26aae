"""Which lines of an access log are this console's own polling."""

from __future__ import annotations

import pytest

from console.probes.access_log import polls_from

LINE = '(APIServer pid=1) INFO:     10.0.0.1:41130 - "GET /health HTTP/1.1" 200 OK'


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models", "/healthcheck"])
@pytest.mark.parametrize("head", ["(APIServer pid=1) ", "(ApiServer_1 pid=14293) ", "", "Loading: 100% | 5/5\r"])
def test_a_question_of_ours_that_was_answered_is_found(path: str, head: str) -> None:
    line = f'{head}INFO:     10.0.0.1:41130 - "GET {path} HTTP/1.1" 200 OK'.encode()
    found = polls_from("10.0.0.1")
    assert found.search(line)
    assert len(found.findall(b"\n".join([b"before", line, line + b"\r", b"behind", line, b""]))) == 3


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace("10.0.0.1", "10.0.0.7"),
        LINE.replace("10.0.0.1", "110.0.0.1"),
        LINE.replace("10.0.0.1", "10.0.0.11"),
        LINE.replace("10.0.0.1", "10.0x0.1"),
        LINE.replace("200 OK", "503 Service Unavailable"),
        LINE.replace("GET", "POST"),
        LINE.replace("/health", "/v1/completions"),
        LINE.replace("/health", "/health?verbose=1"),
        LINE.replace("/health", "/version"),
        LINE + " and more",
        "(APIServer pid=1) INFO 11-24 10:15:00 [a.py:1] GET /health 200 OK of 10.0.0.1",
    ],
)
def test_another_clients_question_another_path_and_a_failure_stay(line: str) -> None:
    assert not polls_from("10.0.0.1").search(line.encode())


def test_an_address_of_the_other_family_and_several_addresses() -> None:
    found = polls_from("127.0.0.1", "fd00::1")
    assert all(found.search(LINE.replace("10.0.0.1", each).encode()) for each in ("127.0.0.1", "fd00::1"))

"""What is written down and shown never holds a secret, and an operation without a trace is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from console.commands.masking import MASK, masked_argv, masked_data, masked_env, masked_text
from console.journal import Journal
from console.model.errors import ConsoleError
from console.private_files import APP, open_private, private_directory
from console.probes.listeners import listens, parse_listeners

SECRET_NAMES = [
    "VLLM_API_KEY",
    "HF_TOKEN",
    "MY_SECRET",
    "DB_PASSWORD",
    "OPENAI_API_KEY",
    "KEY_PASSPHRASE",
    "DB_PWD",
    "DB_PASS",
    "HTTP_AUTH",
    "GITLAB_JWT",
    "SESSION_COOKIE",
    "X-Amz-Signature",
    "apiKey",
    "accessToken",
    "secretAccessKey",
    "APIKey",
    "clientSecret",
    "dbPass",
    "pwd",
    "authorization",
    "authToken",
    "ssl_keyfile_password",
    "AWS_SECRET_ACCESS_KEY",
]
PLAIN_NAMES = [
    "OMP_NUM_THREADS",
    "HCCL_IF_IP",
    "TOKENIZERS_PARALLELISM",
    "KEYBOARD",
    "PWD",
    "OLDPWD",
    "SSH_AUTH_SOCK",
    "XAUTHORITY",
    "COMPASS",
    "bypass",
    "monkey",
    "max_tokens",
    "maxTokens",
    "eos_token",
    "ssl_keyfile",
    "enable_prefix_caching",
    "MAX_NUM_BATCHED_TOKENS",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_secret_variables_are_hidden(name: str) -> None:
    assert masked_env({name: "hunter2"}) == {name: MASK}


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_others_are_shown(name: str) -> None:
    assert masked_env({name: "1"}) == {name: "1"}


def test_what_is_secret_inside_a_value_is_hidden() -> None:
    env = {"http_proxy": "http://ann:hunter2@10.0.0.1:3128", "HF_TOKEN": "", "no_proxy": "10.0.0.0/8"}
    assert masked_env(env) == {**env, "http_proxy": f"http://ann:{MASK}@10.0.0.1:3128"}


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (("vllm", "--x", '{"api_key":"k1","port":1}'), ("vllm", "--x", f'{{"api_key":{MASK},"port":1}}')),
        (("bench", "--base-url", "http://ann:k1@h:1"), ("bench", "--base-url", f"http://ann:{MASK}@h:1")),
        (("vllm", "--y", '{"num_speculative_tokens":1}'), ("vllm", "--y", '{"num_speculative_tokens":1}')),
        (("vllm", "--api-key", "k1", "k2", "--port", "1"), ("vllm", "--api-key", MASK, MASK, "--port", "1")),
        (("vllm", "--api-key=k1", "--port", "1"), ("vllm", f"--api-key={MASK}", "--port", "1")),
        (("vllm", "--max-num-batched-tokens", "120"), ("vllm", "--max-num-batched-tokens", "120")),
        (("vllm", "--tokenizer-mode", "deepseek_v4"), ("vllm", "--tokenizer-mode", "deepseek_v4")),
    ],
)
def test_secret_flags_are_hidden(argv: tuple[str, ...], shown: tuple[str, ...]) -> None:
    assert masked_argv(argv) == shown


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75\nq2FtcGxlIG9ubHkgMTIz\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Basic abc def", f"Authorization: Basic {MASK}"),
        (
            "curl -H 'Authorization: k1 k2' -H \"Cookie: a=k1; b=k2\" http://h",
            f"curl -H 'Authorization: {MASK}' -H \"Cookie: {MASK}\" http://h",
        ),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4 end", f"jwt {MASK} end"),
        ("glpat-abcdefghijklmnop1234 AKIAIOSFODNN7EXAMPLE", f"{MASK} {MASK}"),
        (f"a {PEM} b", f"a {MASK} b"),
        (f"a {PEM.splitlines()[0]}\\nMIIEpAIBAAKCAQEA75\\nMIIEpAIBAAKCAQEA75", f"a {MASK}"),
        ('{"apiKey": "k", "dbPass":"x", "cwd":"/z"}', f'{{"apiKey": {MASK}, "dbPass":{MASK}, "cwd":"/z"}}'),
        ("DB_PASS=hunter2 PWD=/root", f"DB_PASS={MASK} PWD=/root"),
        ("glpat is a prefix, AKIA too, eyJ as well", "glpat is a prefix, AKIA too, eyJ as well"),
    ],
)
def test_free_text_is_masked(text: str, shown: str) -> None:
    assert masked_text(text) == shown


def test_the_journal_is_one_private_line_a_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j" / "lab.jsonl", clock=lambda: 12.5)
    journal.record("begin", verb="stop", engines=["decode-0"], text="line\nbreak ☃")
    journal.record("end")
    lines = journal.path.read_text().splitlines()
    assert [json.loads(line)["what"] for line in lines] == ["begin", "end"]
    assert json.loads(lines[0])["at"] == 12.5
    assert journal.path.stat().st_mode & 0o077 == 0
    journal.path.write_bytes(journal.path.read_bytes() + b"\xff not json\n[1]\n")
    assert [entry["what"] for entry in journal.tail(10)] == ["begin", "end"]


def test_an_act_that_leaves_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConsoleError, match="journal"):
        Journal(tmp_path / "file" / "lab.jsonl").record("begin")


PROC = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1BBC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0300007F:1BBD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 0100007F:9999 0100007F:1111 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00
   1: 0000000000000000FFFF00000400007F:1F41 00000000000000000000000000000000:0000 0A 00000000:00000000 00
   broken line
"""


def test_listeners_are_read_from_proc() -> None:
    found = parse_listeners(PROC)
    places = {(each.address, each.port) for each in found}
    assert places == {("127.0.0.1", 7100), ("127.0.0.3", 7101), ("*", 8000), ("127.0.0.4", 8001)}
    assert listens(found, "127.0.0.1", 7100)
    assert not listens(found, "127.0.0.2", 7100)
    assert listens(found, "127.0.0.2", 8000)
    assert listens(found, "10.0.0.1", 7101)
    assert not listens(found, "10.0.0.1", 7102)


def test_the_journal_holds_no_secret(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lab.jsonl", mask=masked_data)
    journal.record("end", messages={"launch": "vllm --api-key hunter2 --port 1"}, env={"dbPass": "hunter2"})
    assert "hunter2" not in journal.path.read_text()
    assert "--port 1" in str(journal.tail(1))


def test_directories_and_files_of_the_console_are_private(tmp_path: Path) -> None:
    wide = tmp_path / "state" / APP / "journal"
    wide.mkdir(parents=True)
    old = wide / "lab.jsonl"
    old.write_text("")
    old.chmod(0o644)
    for directory in (wide, wide.parent):
        directory.chmod(0o755)
    Journal(old).record("begin")
    private_directory(tmp_path / "new" / "deep" / APP / "logs")
    outside = tmp_path / "state"
    before = outside.stat().st_mode
    modes = {path: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path != outside}
    assert modes.pop(old) == 0o600
    assert set(modes.values()) == {0o700}
    assert outside.stat().st_mode == before, "what is not ours keeps its mode"


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(OSError, match="symbolic"):
        open_private(tmp_path / "link", os.O_WRONLY)


def test_a_record_after_one_that_was_cut_off_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"at": 1, "what": "beg')
    journal = Journal(path)
    journal.record("end")
    journal.record("begin")
    assert [entry["what"] for entry in journal.tail(10)] == ["end", "begin"]

"""The bundle holds what a helper needs and no secret, wherever it stands."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from console.commands.masking import MASK, masked_data, masked_text
from console.model.errors import ConsoleError
from console.services.support_bundle import Piece, pack
from tests.e2e.cluster import lab
from tests.services.readiness.test_preflight_gate import LAYOUT
from tests.sshd import needs_sshd


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("vllm serve /m --api-key s3cret --port 7100", f"vllm serve /m --api-key {MASK} --port 7100"),
        ("--api-key s3cret s3cret2 --port 1", f"--api-key {MASK} --port 1"),
        ("--api-key=s3cret --x", f"--api-key={MASK} --x"),
        ("export HF_TOKEN=s3cret", f"export HF_TOKEN={MASK}"),
        ("args: {'api_key': ['s3cret', 's3cret2'], 'port': 7}", f"args: {{'api_key': {MASK}, 'port': 7}}"),
        ('{"api_key": "s3cret two", "a": 1}', f'{{"api_key": {MASK}, "a": 1}}'),
        ("Authorization: Bearer s3cret-s3cret", f"Authorization: Bearer {MASK}"),
        ("using hf_s3crets3crets3cret now", f"using {MASK} now"),
        ("http_proxy=http://ann:s3cret@10.0.0.1:3128/", f"http_proxy=http://ann:{MASK}@10.0.0.1:3128/"),
        ("max_num_batched_tokens=4096, max_tokens: 5", "max_num_batched_tokens=4096, max_tokens: 5"),
        ("the token was late\nINFO 01-02 ready", "the token was late\nINFO 01-02 ready"),
    ],
)  # fmt: skip
def test_free_text_loses_its_secrets_and_nothing_else(text: str, masked: str) -> None:
    assert masked_text(text) == masked
    assert "s3cret" not in masked_text(text)


def test_written_files_lose_secrets_however_deep() -> None:
    found = masked_data(
        {"env": {"VLLM_API_KEY": "x", "OMP": "1"}, "groups": ({"env": {"HF_TOKEN": "x"}}, "--api-key x")}
    )
    assert found == {
        "env": {"VLLM_API_KEY": MASK, "OMP": "1"},
        "groups": [{"env": {"HF_TOKEN": MASK}}, f"--api-key {MASK}"],
    }


def test_a_bundle_is_private_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    pack((Piece("a/b.txt", "text"),), path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConsoleError, match="there already"):
        pack((), path)
    with pytest.raises(ConsoleError, match="cannot be written"):
        pack((), tmp_path / "none" / "b.tar.gz")


@needs_sshd
@pytest.mark.sshd
@pytest.mark.timeout(200)
def test_doctor_gathers_from_nodes_and_hides_the_key_the_layout_holds(tmp_path: Path) -> None:
    with lab(tmp_path, names=("p0",)) as made:
        layout = made.file.with_name("one.yaml")
        layout.write_text(LAYOUT + "env: {HF_TOKEN: s3cret-value}\n")
        plog = made.node("p0").home / "ascend/log/debug/plog/plog-417_1.log"
        plog.parent.mkdir(parents=True)
        plog.write_text("x")
        bundle = tmp_path / "case.tar.gz"
        hung = subprocess.Popen(["sleep", "300"], env={**os.environ, "DSV4_RUN": "any"})
        done = made.console("support-bundle", "--layout", str(layout), "--output", str(bundle))
        hung.kill()
        assert (done.returncode, done.stdout.strip()) == (0, str(bundle)), done.stderr
        with tarfile.open(bundle) as archive:
            files = {
                each.name.removeprefix("case/"): (archive.extractfile(each) or pytest.fail(each.name)).read().decode()
                for each in archive
            }
        assert not [name for name, text in files.items() if "s3cret-value" in text]
        assert MASK in files["layout.json"]
        assert "plog-417_1.log" in files["nodes/p0/left-behind.txt"]
        stack = files["nodes/p0/stacks.txt"].partition(f"== pid {hung.pid} sleep 300")[2].partition("== ")[0]
        assert "State:\tS (sleeping)" in stack
        assert "1 sleep: S" in stack
        assert files["nodes/p0/stacks.txt"].rstrip().endswith("== end")
        assert "vllm serve" in files["engines/all-0/command.txt"]
        assert '"verdict": "pass"' in files["preflight.json"]
        assert "CANN" in files["about.json"]
        assert all(
            json.loads(text) for name, text in files.items() if name.endswith(".json") and name != "findings.json"
        )

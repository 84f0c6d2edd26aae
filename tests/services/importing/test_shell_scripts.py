"""Shell scripts as people have them: what bash would start is what the layout starts, or the reason why not is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.cli.main import main
from console.commands.serve import serve_command
from console.model.errors import FileError
from console.services.importing import build, read_script
from console.services.placement.edits import example
from tests.files.dumper import run_script
from tests.files.words import defaults_said, flags

COMPUTED = {"VLLM_HOST_IP", "HCCL_IF_IP", "ASCEND_RT_VISIBLE_DEVICES"}

RUN_BY_BASH = {
    "arrays": 'ARGS=(--port 8000 --seed 1)\nARGS+=(--max-model-len 100)\nvllm serve /m "${ARGS[@]}"\n',
    "words in a variable": (
        'ARGS="--port 8000"\nARGS+=" --seed 1"\nARGS="$ARGS --max-model-len 100"\nvllm serve /m $ARGS\n'
    ),
    "a command in a variable": 'CMD="vllm serve /m --port 8000"\n$CMD\n',
    "defaults": (
        "PORT=${PORT:-8000}\n"
        'export A="${A:-512}" B=${B-x}\n'
        "vllm serve ${1:-/m} --port $PORT ${EXTRA:+--foo} --seed ${S:=7}\n"
    ),
    "sums": "N=4\nvllm serve /m --port $((8000 + 2 * (N - 1))) --seed $(( $N % 3 ))\n",
    "here documents": (
        "cat > cfg <<EOF\n"
        "vllm serve /no --port 1\n"
        "EOF\n"
        "cat <<-'END' | tee y\n"
        "\tvllm serve /no2\n"
        "\tEND\n"
        "vllm serve /m --port 8000\n"
    ),
    "a script on standard input": "export A=1\nbash -s <<EOF\nexport B=2\nvllm serve /m --port 8000\nEOF\n",
    "bash -c": "export A='a b'\nbash -c \"export B=\\$A; vllm serve /m --port 8000 --x 'c d'\"\n",
    "a subshell": "(export A=1; cd /; vllm serve /m --port 8000)\n",
    "a function": "start() {\n  vllm serve /m --port 8000\n}\nstart\n",
    "wrappers": "env A=1 B=2 timeout 100 nohup setsid --wait nice -n 5 vllm serve /m --port 8000 2>&1 | cat\n",
    "and, or": "cd / && exec vllm serve /m --port 8000 || exit 1\n",
    "exports that come and go": (
        "export A=1 C=3\nunset C\nexport -n A\nset -a; B=2; set +a\nD=4\nvllm serve /m --port 8000\nexport LATE=1\n"
    ),
    "quotes": (
        "vllm serve '/m/my model' --a \"x\\\"b\" --b 'it'\\''s' --c $'t\\tn\\n"
        '\' --d "é\\$x" --e a\\ b --f "{\\"k\\": \\"v\\"}"\n'
    ),
    "carriage returns": "export A=1\r\nvllm serve /m --port 8000 \\\r\n  --seed 1\r\n",
    "arguments": 'vllm serve /m --port $1 "$@" ${2}\n',
}


@pytest.mark.parametrize("name", RUN_BY_BASH)
def test_a_script_is_read_as_bash_runs_it(name: str, tmp_path: Path) -> None:
    text, arguments = RUN_BY_BASH[name], ("8000", "--seed=5") if name == "arguments" else ()
    seen = run_script(text.replace("\r\n", "\n"), tmp_path, *arguments)
    layout = build(read_script(text, "x.sh", "x", arguments=arguments)).layout
    command = serve_command(example(layout), example(layout).ranks()[0])
    assert _given(command.argv) == defaults_said(_given([word.decode() for word in seen.argv]))
    outer = {"PATH", "DSV4_DUMP", "HOME", "PWD", "SHLVL", "_", "OLDPWD"}
    theirs = {key.decode(): value.decode() for key, value in seen.env.items() if key.decode() not in outer}
    assert {key: value for key, value in command.env.items() if key not in COMPUTED} == theirs


def _given(argv: list[str] | tuple[str, ...]) -> dict[str, object]:
    """Flags by name; of one given twice the last counts."""
    found: dict[str, object] = {}
    start = 3
    for end in range(4, len(argv) + 1):
        if end == len(argv) or argv[end].startswith("--"):
            found |= flags(["vllm", "serve", argv[2], *argv[start:end]])
            start = end
    return found


SERVED = "vllm serve /m --port 8000"
CONTAINED = {
    "run": (
        "IMAGE=q/i:v1\n"
        "export X=7 OUTER=1\n"
        f"docker run --rm -it -e A=1 --env 'B=b c' --env=C=3 -e X -v /a:/b $IMAGE {SERVED}\n"
    ),
    "run bash -c": f"podman run -d -e A=1 -e 'B=b c' -e C=3 -e X=7 q/i:v1 bash -c '{SERVED} > /log 2>&1'\n",
    "exec": f"sudo docker exec -d -e A=1 box bash -lc \"export B='b c' C=3 X=7; source /x/set_env.sh && {SERVED}\"\n",
}


@pytest.mark.parametrize("name", CONTAINED)
def test_inside_a_container_only_what_it_is_given_counts(name: str) -> None:
    layout = build(read_script(CONTAINED[name], "x.sh", "x")).layout
    assert layout.groups["mixed"].env == {"A": "1", "B": "b c", "C": "3", "X": "7"}
    assert layout.image == ("" if name == "exec" else "q/i:v1")
    assert (layout.model.path, layout.groups["mixed"].port) == ("/m", 8000)


@pytest.mark.parametrize(
    "command",
    [
        "nohup python3 -u -m vllm.entrypoints.openai.api_server --port 8000 --model=/m --seed 1 &",
        "/usr/bin/python -m vllm.entrypoints.openai.api_server --model /m --seed 1 --port 8000",
        "vllm serve --model /m --port 8000 --seed 1",
        "/usr/local/bin/vllm serve /m --seed 1 --port 8000",
    ],
)
def test_other_ways_to_the_same_server(command: str) -> None:
    layout = build(read_script(command, "x.sh", "x")).layout
    assert layout.model.path == "/m"
    assert layout.groups["mixed"].args["seed"] == 1
    assert "model" not in layout.groups["mixed"].args


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vllm serve --port 8000 /m\n", "x.sh:1: the model does not follow"),
        ("echo vllm serve /m\n", "there is no `vllm serve MODEL`"),
        ("vllm serve ${1} --port 1\n", r"x.sh:1: MODEL: the value is the script's argument \$1"),
        ("vllm serve /m \\\n  # --seed 1 \\\n  --port 1\n", "x.sh:3: --port starts a command: a comment"),
        ("vllm serve /m --tensor-parallel-size 2 \\ \n  --port 1\n", "x.sh:2: --port starts a command"),
        ("vllm serve /m --port 1 --seed ${X%%.*}\n", r"x.sh:1: --seed: the value comes of `\$\{X%%\.\*\}`"),
        ("vllm serve /m --port 1 --seed $(nproc)\n", "x.sh:1: --seed: the value comes of `nproc`"),
        ("X=`cat seed`\nvllm serve /m --seed $X\n", r"--seed: the value comes of `cat seed` \(line 1\)"),
        ("for h in $HOSTS; do vllm serve /m; done\n", r"x.sh:1: a loop over `\$HOSTS` starts servers"),
        ("while read h; do ssh $h vllm serve /m; done < hosts\n", "x.sh:1: a loop over `what `read` is given`"),
        ("if [ $A = 1 ]; then S=1; else S=2; fi\nvllm serve /m --seed $S\n", "x.sh:1: what is started depends on"),
        (
            "vllm serve /m -dp 2 --data-parallel-size-local 0\n",
            "--data-parallel-size-local: a node that serves without",
        ),
        ("vllm serve /m -tp many\n", "x.sh:1: --tensor-parallel-size: 'many' is no number"),
        ("ray start --head\nvllm serve /m\n", "x.sh:1: runs the engine on Ray"),
        ("vllm serve /m --distributed-executor-backend ray\n", "x.sh:1: runs the engine on Ray"),
        ("if true; then\nvllm serve /m\n", "x.sh:3: cannot be read as a shell script: `fi` is missing"),
        ("echo 'a\nvllm serve /m\n", "cannot be read as a shell script: has no closing '"),
    ],
)
def test_what_cannot_be_read_is_refused_with_line_and_reason(text: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        build(read_script(text, "x.sh", "x"))


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("while true; do vllm serve /m; sleep 1; done\n", "x.sh:1: a loop starts the server again when it ends"),
        (". ./env.sh\nvllm serve /m --port 1\n", "x.sh:1: ./env.sh is not read"),
        ("sysctl -w vm.swappiness=0\nvllm serve /m\n", "x.sh:1: `sysctl -w vm.swappiness=0` is not carried over; see"),
        (
            "mooncake_master --port $P &\nvllm serve /m\n",
            "x.sh:1: `mooncake_master --port $P` is not carried over: start",
        ),
        ("bash other.sh\nvllm serve /m\n", "x.sh:1: other.sh is run, and was not given"),
    ],
)
def test_what_was_not_understood_is_said(text: str, doubt: str) -> None:
    warnings = build(read_script(text, "x.sh", "x")).warnings
    assert any(doubt in warning for warning in warnings), warnings


def test_a_file_with_a_nul_is_no_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.sh").write_bytes(b"A=1\nvllm serve /m\0 --port 1\n")
    assert main(["import", str(tmp_path / "x.sh")]) == 2
    assert "x.sh:2: contains a NUL byte" in capsys.readouterr().err

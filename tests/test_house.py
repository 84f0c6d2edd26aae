"""The house rules a linter cannot hold: sizes, foreign libraries' users, what a light command may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for top in ("console", "screens", "layouts") for path in (ROOT / top).rglob("*.py"))


def _defs(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sizes_and_docstring(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 400, "modules stay within 400 lines"
    assert ast.get_docstring(tree), "a module says its job"
    for function in _defs(tree):
        assert (function.end_lineno or 0) - function.lineno + 1 <= 50, f"{function.name} is longer than 50 lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
            assert methods <= 20, f"class {node.name} has {methods} methods"


USERS = {
    "asyncssh": ("console/remote/", "console/demo/"),
    "httpx": ("console/remote/",),
    "httpcore": ("console/remote/",),
    "yaml": ("console/files/", "console/diagnosis/"),
    "textual": ("screens/",),
    "difflib": ("console/model/suggestions.py", "console/files/yaml_editing.py"),
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_library_is_used_in_few_packages(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for name in names:
            users = USERS.get(name.split(".")[0])
            assert users is None or where.startswith(users), f"{where} imports {name}"


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, contextlib\n"
        "from console.cli.main import main\n"
        "with contextlib.suppress(SystemExit):\n    main(['--help'])\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'textual', 'asyncssh', 'httpx', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_node_bundle_is_python_3_7() -> None:
    for path in (ROOT / "console" / "node").rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 7))


COMMAND_LINE = sorted(path for path in (ROOT / "console" / "cli").glob("*.py") if path.name != "printer.py")


@pytest.mark.parametrize("path", COMMAND_LINE, ids=lambda path: path.name)
def test_the_command_line_prints_in_one_place(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            bare = called == "print" or called.startswith(("sys.stdout.write", "sys.stderr.write"))
            assert not bare, f"line {node.lineno}: {called}: use console.cli.printer, which cleans what it prints"

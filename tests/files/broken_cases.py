"""Files with one fault each, and what `validate` must say about them: line, key, nearest key."""

from __future__ import annotations

from typing import NamedTuple


class Broken(NamedTuple):
    """A file's text and the fault in it."""

    name: str
    text: str
    line: int
    key: str
    message: str
    nearest: str = ""


_LAYOUT = """\
name: mine
hardware: a3
model: {path: /m/DeepSeek-V4-Pro, served_name: dsv4}
env:
  HCCL_BUFFSIZE: 1024
args:
  block-size: 128
groups:
  mixed:
    role: mixed
    nodes: 2
    tensor_parallel: 16
    data_parallel: {size: 2, per_node: 1}
    port: 8900
"""
_CLUSTER = """\
name: lab
defaults: {user: root, hardware: a3}
nodes:
  p0: {host: 10.0.0.1}
  p1: {host: 10.0.0.2}
"""


def _with(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def _layout(name: str, old: str, new: str, line: int, key: str, message: str, nearest: str = "") -> Broken:
    return Broken(name, _with(_LAYOUT, old, new), line, key, message, nearest)


def _cluster(name: str, old: str, new: str, line: int, key: str, message: str, nearest: str = "") -> Broken:
    return Broken(name, _with(_CLUSTER, old, new), line, key, message, nearest)


NO_KEY = "is not a known key here"
BROKEN = (
    _layout("misspelt top key", "groups:", "goups:", 8, "goups", NO_KEY, "groups"),
    _layout(
        "misspelt group key",
        "tensor_parallel",
        "tensor_paralel",
        12,
        "groups.mixed.tensor_paralel",
        NO_KEY,
        "tensor_parallel",
    ),
    _layout(
        "dash for underscore",
        "tensor_parallel",
        "tensor-parallel",
        12,
        "groups.mixed.tensor-parallel",
        NO_KEY,
        "tensor_parallel",
    ),
    _layout("misspelt inner key", "per_node", "pernode", 13, "groups.mixed.data_parallel.pernode", NO_KEY, "per_node"),
    _layout("unknown role", "role: mixed", "role: mix", 10, "groups.mixed.role", "does not fit", "mixed"),
    _layout("text for a number", "nodes: 2", "nodes: two", 11, "groups.mixed.nodes", "two does not fit"),
    _layout("a fraction of a node", "nodes: 2", "nodes: 2.5", 11, "groups.mixed.nodes", "2.5 does not fit"),
    _layout("no node at all", "nodes: 2", "nodes: 0", 11, "groups.mixed.nodes", "0 does not fit"),
    _layout("a slip of the finger", "nodes: 2", "nodes: 20000000", 11, "groups.mixed.nodes", "20000000 does not fit"),
    _layout("too many ranks", "per_node: 1}", "per_node: 4096}", 9, "groups.mixed", "8192 ranks in all"),
    _layout("port too high", "port: 8900", "port: 89000", 14, "groups.mixed.port", "89000 does not fit"),
    _layout("key without value", "port: 8900", "port:", 14, "groups.mixed.port", "nothing does not fit"),
    _layout("missing key", "    port: 8900\n", "", 9, "groups.mixed.port", "is missing"),
    _layout(
        "a list for a mapping", "args:\n  block-size: 128", "args:\n  - block-size", 6, "args", "a list does not fit"
    ),
    _layout(
        "key given twice",
        "    nodes: 2\n",
        "    nodes: 2\n    nodes: 3\n",
        12,
        "nodes",
        "is a duplicate; the first one is on line 11",
    ),
    _layout("tab as indent", "    nodes: 2", "\tnodes: 2", 11, "", "not YAML"),
    _layout("open quote", "role: mixed", 'role: "mixed', 15, "", "not YAML"),
    _layout("open brace", "per_node: 1}", "per_node: 1", 14, "", "not YAML"),
    _layout("missing colon", "role: mixed", "role mixed", 11, "", "not YAML"),
    _layout("unknown hardware", "hardware: a3", "hardware: a4", 2, "hardware", "unknown hardware 'a4'"),
    _layout("variable with a dash", "HCCL_BUFFSIZE", "HCCL-BUFFSIZE", 4, "env", "is not a valid variable name"),
    _layout(
        "mapping as variable", "HCCL_BUFFSIZE: 1024", "HCCL_BUFFSIZE: {a: 1}", 5, "env.HCCL_BUFFSIZE", "is not text"
    ),
    _layout("name with a slash", "name: mine", "name: ../mine", 1, "name", "is not a valid name"),
    _layout("group called proxy", "  mixed:", "  proxy:", 8, "groups", "belongs to the proxy"),
    _layout("undefined alias", "role: mixed", "role: *mixed", 10, "", "has no anchor"),
    _layout("unknown tag", "role: mixed", "role: !secret mixed", 10, "", "tag"),
    _layout("second document", "args:", "---\nargs:", 6, "", "second document"),
    _layout("merge of text", "    role: mixed", "    <<: mixed\n    role: mixed", 10, "<<", "needs a mapping"),
    _layout("our own field", "name: mine", "source: x\nname: mine", 1, "source", NO_KEY),
    _layout(
        "assignment of no group", "groups:", "assign: {mixd: [a]}\ngroups:", 8, "assign", "there is no group 'mixd'"
    ),
    _cluster("misspelt node key", "{host: 10.0.0.2}", "{hots: 10.0.0.2}", 5, "nodes.p1.hots", NO_KEY, "host"),
    _cluster("misspelt default", "user: root", "usr: root", 2, "defaults.usr", NO_KEY, "user"),
    _cluster(
        "wrong default",
        "hardware: a3",
        "runtime: {kind: doker}",
        2,
        "defaults.runtime.kind",
        "doker does not fit",
        "docker",
    ),
    _cluster(
        "ssh port as text", "{host: 10.0.0.1}", "{host: 10.0.0.1, port: ssh}", 4, "nodes.p0.port", "ssh does not fit"
    ),
    _cluster(
        "name for an address", "{host: 10.0.0.1}", "{host: a, ip: a.lab}", 4, "nodes.p0.ip", "is not an IP address"
    ),
    _cluster(
        "relative run directory", "{host: 10.0.0.1}", "{base: runs}", 4, "nodes.p0.base", "is not an absolute path"
    ),
    _cluster("node as a list", "p1: {host: 10.0.0.2}", "p1: [10.0.0.2]", 5, "nodes.p1", "a list does not fit"),
    _cluster("node with a comma", "p1:", '"p,1":', 3, "nodes", "is not a valid node name"),
    _cluster(
        "unknown http way",
        "{host: 10.0.0.1}",
        "{host: 10.0.0.1, http: proxy}",
        4,
        "nodes.p0.http",
        "proxy does not fit",
    ),
    _cluster("no nodes", "  p0: {host: 10.0.0.1}\n  p1: {host: 10.0.0.2}\n", "  {}\n", 3, "nodes", "at least one node"),
    Broken("empty file", "", 0, "", "the file is empty"),
    Broken("only a comment", "# nothing\n", 0, "", "the file is empty"),
    Broken("plain text", "hello\n", 1, "", "neither a cluster"),
    Broken("a list", "- a\n- b\n", 1, "", "neither a cluster"),
    Broken("something else", "colour: blue\n", 1, "", "neither a cluster"),
    Broken("bell", 'name: "a\x07"\ngroups: {}\n', 1, "", "not allowed in YAML"),
    Broken("deep", "groups: " + "[" * 60 + "]" * 60 + "\n", 1, "", "nested deeper"),
    Broken("half a character", 'name: "\\ud800"\ngroups: {}\n', 1, "", "not YAML"),
    Broken(
        "laughs",
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{y}: &{y} [{', '.join(['*' + x] * 10)}]\n" for x, y in zip("abcdef", "bcdefg", strict=True)),
        6,
        "",
        "after the expansion of aliases",
    ),
    Broken("alias in itself", "groups: &g {mixed: *g}\n", 1, "", "inside its own anchor"),
)

"""One call of the driver's tools at a time on a node, whoever makes it: npu-smi and hccn_tool must not run twice at once.

The words for a shell only; what the tools are asked and what they print does not enter here.
"""

from __future__ import annotations

TURN_S = 15
"""How long a call waits for another one to end: longer than each may take by itself."""
BUSY_CODE = 75
BUSY = "another call of npu-smi or hccn_tool on this node has not ended"

_TURN = """turn() {
own="$(command -v npu-smi || command -v hccn_tool)"
command -v flock >/dev/null 2>&1 && [ -r "$own" ] || { "$@"; return; }
{ flock -E CODE -w "${turn_s:-WAIT}" 9 2>/dev/null
[ "$?" != CODE ] || { turn_s=0; echo "BUSY"; return CODE; }
"$@"; } 9<"$own"
}"""


def turn_function(wait_s: float = TURN_S) -> str:
    """`turn WORDS…`, which runs them once no other call runs, or prints BUSY and gives BUSY_CODE.

    The lock is one on the tool's own file, so that all users and consoles find the same. The tool inherits it: one that hangs
    after its caller was killed counts as well. When waiting was in vain once, the calls after it do not wait again. Without
    `flock` on the node there are no turns.
    """
    return _TURN.replace("CODE", str(BUSY_CODE)).replace("WAIT", f"{wait_s:g}").replace("BUSY", BUSY)

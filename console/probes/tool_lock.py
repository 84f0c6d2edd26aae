"""A shell function that runs npu-smi and hccn_tool one call at a time on a node, because they must not run twice at once."""

from __future__ import annotations

TURN_S = 15
"""How long a call waits for another call, in seconds; longer than one call takes."""
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
    """`turn WORDS…` runs the words when no other call runs; otherwise it prints BUSY and returns BUSY_CODE.

    The lock is on the file of the tool, so that all users and consoles use the same lock. The tool inherits the lock: a tool
    that hangs after its caller was killed still holds it. After one wait in vain the following calls do not wait. Without
    `flock` on the node there is no lock.
    """
    return _TURN.replace("CODE", str(BUSY_CODE)).replace("WAIT", f"{wait_s:g}").replace("BUSY", BUSY)

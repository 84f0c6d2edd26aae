"""As whom this console asks the engines of a node: the address that their access logs name as its own."""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from ipaddress import ip_address

from console.model.deployment import Deployment, is_address
from console.probes.access_log import polls_from

_LOOPBACK = "127.0.0.1"


def own_polls(deployment: Deployment, node: str) -> re.Pattern[bytes] | None:
    """What finds the console's own polling in logs of a node's engines; None where the address it comes from is not known.

    Through the node's SSH connection the questions come from the node's own address, for it is the address that is asked.
    """
    named = deployment.address(node) or _LOOPBACK
    if not is_address(named):
        return None
    address = str(ip_address(named))
    found = deployment.cluster.nodes.get(node)
    if found is not None and found.http == "direct":
        client = _outgoing(address)
        return polls_from(client) if client else None
    return polls_from(*dict.fromkeys((address, _LOOPBACK)) if ip_address(address).is_loopback else (address,))


@lru_cache(maxsize=256)
def _outgoing(address: str) -> str:
    """The address of this machine that packets to another one come from; empty without a route. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""

"""As whom this console asks the engines of a node: the address that their access logs name as its own."""

from __future__ import annotations

import re
from ipaddress import ip_address

from console.model.deployment import Deployment, is_address
from console.probes.access_log import polls_from

_LOOPBACK = "127.0.0.1"


def own_polls(deployment: Deployment, node: str) -> re.Pattern[bytes] | None:
    """What finds the console's own polling in logs of a node's engines; None where the address it comes from is not known.

    The helper asks at the node's own address, so it is the address that the questions come from.
    """
    named = deployment.address(node) or _LOOPBACK
    if not is_address(named):
        return None
    address = str(ip_address(named))
    return polls_from(*dict.fromkeys((address, _LOOPBACK)) if ip_address(address).is_loopback else (address,))

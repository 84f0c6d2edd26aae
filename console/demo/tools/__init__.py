"""The programs of a demo node, each a module run by a small wrapper in the node's `bin`: `install_tools` writes
the wrappers.

They depend on their environment only (`DSV4_DEMO_*`, see `node.py`), so a real sshd can serve them as well as the
embedded one.
"""

from console.demo.tools.install import install_tools

__all__ = ["install_tools"]

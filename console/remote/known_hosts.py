"""The trusted host keys: known_hosts of the operator, and the file of the console with the keys that operators accepted."""

from __future__ import annotations

import os
from pathlib import Path

import asyncssh

from console.model.errors import ConsoleError
from console.private_files import open_private


class KnownHosts:
    """The two files. The file of the console is created with mode 0600 when the first key is accepted."""

    def __init__(self, own: Path, users: Path) -> None:
        self.own = own
        self.users = users

    def load(self) -> asyncssh.SSHKnownHosts:
        """All trusted keys. Raises ConsoleError when a file cannot be read."""
        text = ""
        for path in (self.own, self.users):
            try:
                text += path.read_text(encoding="utf-8", errors="replace").rstrip("\n") + "\n"
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ConsoleError(f"{path}: {error.strerror}", hint="make the file readable") from error
        try:
            return asyncssh.import_known_hosts(text)
        except ValueError as error:
            raise ConsoleError(f"{self.own} or {self.users}: {error}", hint="correct or remove that line") from error

    def knows(self, host: str, address: str, port: int) -> bool:
        """Whether any key is trusted for a host, so that another key is a change and not a new host."""
        trusted, authorities, *_ = asyncssh.match_known_hosts(self.load(), host, address, port)
        return bool(trusted or authorities)

    def types(self, host: str, port: int) -> tuple[str, ...]:
        """The types of the trusted keys of a host; none when a certificate authority signs its keys."""
        trusted, authorities, *_ = asyncssh.match_known_hosts(self.load(), host, "", port)
        return () if authorities else tuple(sorted({key.get_algorithm() for key in trusted}))

    def add(self, host: str, port: int, key: asyncssh.SSHKey) -> None:
        """Trust a key for a host from now on. Raises ConsoleError when it cannot be written."""
        name = host if port == 22 else f"[{host}]:{port}"
        line = f"{name} {key.export_public_key().decode('ascii').strip()}\n"
        try:
            descriptor = open_private(self.own, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, line.encode("utf-8"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConsoleError(f"{self.own}: {error.strerror}", hint="the host key was not stored") from error

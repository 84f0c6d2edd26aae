"""The real services fit what the screens ask for; mypy is the judge, and the names are checked where it is not run."""

from __future__ import annotations

import inspect

import pytest

from console.services.session import Session as RealSession
from screens import protocols as ports


def fits(session: RealSession) -> ports.Session:
    """Only to be type-checked."""
    return session


@pytest.mark.parametrize("name", [name for name in vars(ports.Session) if not name.startswith("_")])
def test_the_real_session_has_what_the_screens_use(name: str) -> None:
    made = inspect.getsource(RealSession)
    assert hasattr(RealSession, name) or f"self.{name} = " in made

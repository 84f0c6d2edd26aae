"""The verify pane: chats through the deployment's endpoint, their text as it comes, and what each proves. It changes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from console.model.errors import ConsoleError
from screens.actions import bindings
from screens.background_work import set_off
from screens.panes.base import Pane, PaneMoment
from screens.styled_lines import Line, Row, fit, shown, wrap
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.services.serving.verification import Proof, Verification

_WORDS = {True: ("pass", "ok"), False: ("FAIL", "fail"), None: ("not covered", "warn")}
_INDENT = 12
PROMPT = "Say hello."


class VerifyPane(Pane):
    """One run at a time; what the last one found stays until the next."""

    place: ClassVar[str] = "verify"
    BINDINGS: ClassVar = bindings("verify", "verb")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._texts: dict[int, str] = {}
        self._proofs: list[Proof] = []
        self._trouble = ""
        self._verdict: Verification | None = None
        self._ended = ""
        self._began = 0.0
        self._going = False
        self._stale = False

    def verbs(self) -> Verbs:
        """Moves, and beginning."""
        return {**super().verbs(), "verify": self.begin}

    def begin(self, prompt: str = PROMPT) -> None:
        """Chat through the endpoint until every pair of engines could have served, then compare prefill with decode."""
        if self.moment is None:
            return
        if self._going:
            self.app.notify("it is being verified already", markup=False, timeout=3)
            return
        self._texts, self._proofs, self._trouble, self._verdict = {}, [], "", None
        self._going, self._began = True, time.monotonic()
        set_off(self, "verify", self._run, self.moment, prompt)
        self._draw_again()

    async def _run(self, moment: PaneMoment, prompt: str) -> None:
        from console.services.serving.verification import VerificationRequest

        try:
            self._verdict = await moment.session.verifier.run(
                self._proven, VerificationRequest(prompt=prompt, hear=self._heard)
            )
        except ConsoleError as error:
            self._trouble = f"{error}" + (f". {error.hint}" if error.hint else "")
        finally:
            self._going, self._ended = False, time.strftime("%H:%M:%S")
            self._draw_again()

    def _heard(self, number: int, text: str) -> None:
        self._texts[number] = self._texts.get(number, "") + text
        self._stale = True

    def _proven(self, proof: Proof) -> None:
        self._proofs.append(proof)
        self._stale = True

    def tick(self) -> None:
        """Draw what has come since the last frame."""
        if self._stale or self._going:
            self._draw_again()

    def _draw_again(self) -> None:
        self._stale = False
        if self.moment is not None and self.is_mounted:
            self.draw_moment(self.moment)
            self.on_title()

    def draw_moment(self, moment: PaneMoment) -> None:
        """What failed first, then the chats that are still coming, then what passed."""
        self.empty = "not verified yet; Enter chats through the deployment's endpoint, :verify WORDS asks that"
        cells = max(30, self.size.width - 2)
        trouble = wrap(shown(self._trouble), cells) if self._trouble else []
        rows = [Row(f"trouble/{at}", ((piece, "fail"),)) for at, piece in enumerate(trouble)]
        if self._trouble:
            again = f"seen at {self._ended}; Enter tries again"
            rows.append(Row("trouble/again", ((fit(again, cells), "dim"),)))
        if self._verdict is not None:
            role = "ok" if self._verdict.passed else "fail"
            words = f"{self._verdict.words()} (at {self._ended})"
            rows += [Row(f"verdict/{at}", ((piece, role),)) for at, piece in enumerate(wrap(shown(words), cells))]
        failed = [each for each in self._proofs if each.passed is False]
        for each in failed:
            rows += _proof_rows(each, cells)
        for number, text in sorted(self._texts.items()):
            if not any(each.number == number for each in self._proofs):
                rows += _coming(number, text, cells)
        for each in self._proofs:
            rows += _proof_rows(each, cells) if each not in failed else ()
        needle = self.needle.casefold()
        self.show([row for row in rows if needle in "".join(text for text, _ in row.line).casefold()])

    def title(self) -> Line:
        """How it stands."""
        if self._going:
            chats = sum(each.number > 0 for each in self._proofs)
            return ((f"verifying, {chats} chats answered, {time.monotonic() - self._began:.0f} s", "busy"),)
        if self._verdict is None:
            return (("never verified", "dim"),)
        if failed := self._verdict.failed:
            return ((f"{len(failed)} of {len(self._proofs)} proofs failed", "fail"),)
        return (("verified", "ok"),) if self._verdict.passed else (("NOT verified", "warn"),)


def _coming(number: int, text: str, cells: int) -> list[Row]:
    pieces = wrap(shown(text), cells - _INDENT)
    heads = [fit(f"{number:>4}", _INDENT), *(" " * _INDENT for _ in pieces)]
    parts = enumerate(zip(heads, pieces, strict=False))
    return [Row(f"text/{number}/{at}", ((head, "busy"), (piece, "plain"))) for at, (head, piece) in parts]


def _proof_rows(proof: Proof, cells: int) -> list[Row]:
    word, role = _WORDS[proof.passed]
    about = f" ({proof.engine})" if proof.passed is False and proof.engine and proof.engine not in proof.name else ""
    head = shown(f"{proof.name}{about}") + (f", {proof.took_s:.2f} s" if proof.took_s else "")
    rows = [Row(f"proof/{proof.name}", ((fit(word, _INDENT), role), (head, "bold")))]
    pieces = wrap(shown(proof.seen), cells - _INDENT)
    return [
        *rows,
        *(Row(f"proof/{proof.name}/{at}", ((" " * _INDENT, ""), (each, "plain"))) for at, each in enumerate(pieces)),
    ]

"""The verify pane: test chats through the deployment's endpoint, their text as it arrives, and the checks. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from console.model.counting import counted
from console.model.errors import ConsoleError
from console.model.name_ranges import name_ranges
from console.model.service import ServiceState
from screens.actions import BY_ID, bindings
from screens.background_work import set_off
from screens.pane_moment import PaneMoment
from screens.panes.folding import FoldingPane
from screens.styled_lines import Line, Row, fit, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.services.serving.verification import Proof, Verification
    from console.services.serving.verification_summary import ChatGroup

_WORDS = {True: ("pass", "ok"), False: ("FAIL", "fail"), None: ("not covered", "warn")}
_INDENT = 14
"""Cells before a text: two spaces and the outcome."""
PROMPT = "Say hello."


class VerifyPane(FoldingPane):
    """One verification at a time; its result stays until the next one starts."""

    place: ClassVar[str] = "verify"
    BINDINGS: ClassVar = bindings("verify", "verb")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.on_copy: Callable[[str], object] = lambda text: None
        self._prompt = PROMPT
        self._texts: dict[int, str] = {}
        self._proofs: list[Proof] = []
        self._trouble = ""
        self.verdict: Verification | None = None
        """The result of the last verification; None until it has ended."""
        self._ended = ""
        self._began = 0.0
        self._going = False
        self._stale = False

    def verbs(self) -> Verbs:
        """Moves, starting a verification, and copying the curl command."""
        return {**super().verbs(), "verify": self._enter, "copy-curl": self.copy_curl}

    def _enter(self) -> None:
        if not self.unfold():
            self.begin()

    def begin(self, prompt: str = PROMPT) -> None:
        """Send chats through the endpoint, enough for every pair of engines, then compare prefill with decode."""
        if self.moment is None:
            return
        if self._going:
            self.app.notify("a verification is running already", markup=False, timeout=3)
            return
        self._texts, self._proofs, self._trouble, self.verdict = {}, [], "", None
        self._going, self._began, self._prompt = True, time.monotonic(), prompt
        self.cursor = self.offset_row = 0
        set_off(self, "verify", self._run, self.moment, prompt)
        self._draw_again()

    def copy_curl(self) -> None:
        """Copy a curl command that sends the same question to the endpoint."""
        self.on_copy(self._curl())

    def _curl(self) -> str:
        from console.services.serving.verification_summary import curl_command

        if self.moment is None:
            return ""
        return curl_command(self.moment.session.deployment, self.moment.snapshot.service, self._prompt)

    async def _run(self, moment: PaneMoment, prompt: str) -> None:
        from console.services.serving.verification import VerificationRequest

        try:
            self.verdict = await moment.session.verifier.run(
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
        """Draw what has arrived since the last frame."""
        if self._stale or self._going:
            self._draw_again()

    def _draw_again(self) -> None:
        self._stale = False
        if self.moment is not None and self.is_mounted:
            self.draw_moment(self.moment)
            self.on_title()

    def draw_moment(self, moment: PaneMoment) -> None:
        """The verdict, the ranks, failed checks, chats by their answers, unfinished chats, and the curl command."""
        key = self.keys.word(BY_ID["verify"]).capitalize()
        self.empty = f"not run; {key} sends test chats through the endpoint, :verify TEXT sends your text"
        self.folds.begin()
        if self.cursor == 0:
            self.rows = []  # a cursor at the verdict stays there when a row appears above
        needle = self.needle.casefold()
        self.show([row for row in self._rows() if needle in "".join(text for text, _ in row.line).casefold()])

    def title(self) -> Line:
        """The progress or the result."""
        name: Line = (("Verify  ", "bold"),)
        if self._going:
            chats = sum(each.number > 0 for each in self._proofs)
            return (
                *name,
                (f"verifying: {counted(chats, 'chat')} finished, {time.monotonic() - self._began:.0f} s", "busy"),
            )
        if self.verdict is None:
            return (*name, ("not run", "dim"))
        if failed := self.verdict.failed:
            return (*name, (f"{len(failed)} of {counted(len(self._proofs), 'check')} failed", "fail"))
        service = self.moment.snapshot.service if self.moment else None
        holds = service is not None and service.state is ServiceState.UP
        passed = (f"verified at {self._ended}", "ok" if holds else "dim")
        return (*name, passed if self.verdict.passed else ("NOT verified", "warn"))

    def _rows(self) -> Iterator[Row]:
        key = self.keys.word(BY_ID["verify"]).capitalize()
        if self._trouble:
            yield from self.texts("trouble", shown(self._trouble), 0, "fail")
            yield Row("trouble/again", ((f"at {self._ended}; {key} tries again", "dim"),))
        verdict = self.verdict
        if verdict is not None:
            yield from self.texts("verdict", *self._headline(verdict))
            yield from self._coverage(verdict)
        yield from self._tried()
        for number, text in sorted(self._texts.items()):
            if not any(each.number == number for each in self._proofs):
                yield from self.texts(f"text/{number}", shown(text), _INDENT, "plain", f"  {number:>4}")
        if verdict is not None and (curl := self._curl()):
            copies = f"{self.keys.word(BY_ID['copy-curl'])} copies"
            yield from self.folded(
                "curl",
                ((fit(copies, _INDENT - 2), "key"), (shown(curl), "dim")),
                self.texts("curl/text", shown(curl), _INDENT, "plain"),
            )

    def _headline(self, verdict: Verification) -> tuple[str, int, str, str, str]:
        sign = ("x" if self.pen.ascii else "✓") if verdict.passed else ("X" if self.pen.ascii else "✗")
        again = f"at {self._ended}, {self.keys.word(BY_ID['verify']).capitalize()} verifies again"
        role = "bold ok" if verdict.passed else "bold fail"
        return f"{shown(verdict.verdict)} {again}", 2, role, sign, role

    def _coverage(self, verdict: Verification) -> Iterator[Row]:
        """How many ranks answered, and which did not; it unfolds to the outcome of each rank."""
        from console.services.serving.coverage import by_outcome

        if not verdict.ranks:
            return
        found = by_outcome(verdict.ranks)
        words, role = _WORDS[found[0].answered]
        text = f"{sum(bool(each.answered) for each in verdict.ranks)} of {counted(len(verdict.ranks), 'rank')} answered"
        for outcome, label in ((False, "failed"), (None, "not covered")):
            names = [name for each in found if each.answered is outcome for name in each.ranks]
            text += f"; {label}: {name_ranges(names)}" if names else ""
        below = (
            row
            for each in found
            for row in self.texts(
                f"ranks/{each.answered}/{each.why}",
                shown(f"{name_ranges(each.ranks)}: {each.why or ('answered' if each.answered else 'no answer')}"),
                _INDENT,
                _WORDS[each.answered][1],
            )
        )
        yield from self.folded("ranks", ((fit(words, _INDENT - 2), role), (shown(text), "plain")), below)

    def _tried(self) -> Iterator[Row]:
        """Failed and uncovered chats, then the other checks, then the chats that passed."""
        from console.services.serving.verification import COVERAGE
        from console.services.serving.verification_summary import chat_groups

        groups = chat_groups(self._proofs)
        for number, group in enumerate(groups):
            if group.passed is not True:
                yield from self._chats(f"chats/{number}", group)
        others = [each for each in self._proofs if not each.number and each.name != COVERAGE]
        for proof in sorted(others, key=lambda each: (False, None, True).index(each.passed)):
            yield from self._proof(proof)
        for number, group in enumerate(groups):
            if group.passed:
                yield from self._chats(f"chats/{number}", group)

    def _chats(self, key: str, group: ChatGroup) -> Iterator[Row]:
        word, role = _WORDS[group.passed]
        below = (
            row
            for at, each in enumerate(group.answers)
            for row in self.texts(
                f"{key}/{at}", f"{counted(len(each.chats), 'chat')}: {shown(each.text)}", _INDENT, "plain"
            )
        )
        tone = "fail" if group.passed is False else "plain"
        yield from self.folded(key, ((fit(word, _INDENT - 2), role), (shown(group.words), tone)), below)

    def _proof(self, proof: Proof) -> Iterator[Row]:
        word, role = _WORDS[proof.passed]
        text = shown(f"{proof.name}: {proof.about}{proof.seen}")
        tone = "fail" if proof.passed is False else "plain"
        yield from self.texts(f"proof/{proof.name}", text, _INDENT, tone, f"  {word}", role)

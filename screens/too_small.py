"""The message that is shown when the terminal is too small for the screen."""

from __future__ import annotations

from screens.styled_lines import wrap
from screens.widgets import LineWidget

LEAST_CELLS = 40
LEAST_ROWS = 10


class TooSmall(LineWidget):
    """Needed and actual size."""

    def on_resize(self) -> None:
        """Show the message with the current size."""
        size = self.app.size
        words = (
            f"too small: {size.width}x{size.height}",
            f"needs {LEAST_CELLS}x{LEAST_ROWS}",
            "q quits; engines keep running",
        )
        lines = [piece for text in words for piece in wrap(text, max(1, size.width))]
        self.paint([(((text, "bold"),), ()) for text in lines])

"""The whole product without a picture; nothing in here imports Textual."""

__version__ = "0.1.0"

"""The product without its screen. Does not import Textual."""

__version__ = "0.1.0"

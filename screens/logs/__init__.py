"""The log viewer: reads a growing file by byte offset, with memory that does not depend on its size."""

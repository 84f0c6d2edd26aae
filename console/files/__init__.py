"""Reads and writes the files of an operator: cluster, layout, assignment, keys. Errors name file, line, key and fix.

This package is the only user of the YAML library for configuration. It does not know what a layout means.
"""

from __future__ import annotations

from console.files.loading import (
    assignment_data,
    assignment_of_data,
    is_shipped,
    load_assignment,
    load_cluster,
    load_document,
    load_keys,
    load_layout,
    parse_layout,
    shipped_layouts,
    shipped_text,
)
from console.files.saving import layout_data, layout_text, save_assignment, save_text, yaml_text
from console.files.yaml_documents import Document, read_document

__all__ = [
    "Document",
    "assignment_data",
    "assignment_of_data",
    "is_shipped",
    "layout_data",
    "layout_text",
    "load_assignment",
    "load_cluster",
    "load_document",
    "load_keys",
    "load_layout",
    "parse_layout",
    "read_document",
    "save_assignment",
    "save_text",
    "shipped_layouts",
    "shipped_text",
    "yaml_text",
]

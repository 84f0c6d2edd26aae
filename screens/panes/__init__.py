"""The panes beside the grid: one class each, and one row of the table in `screens.panes.table`."""

"""Delivered files: the inbox, reading files row by row or by column, quarantine, and the raw tables.
`features` computes with their rows."""

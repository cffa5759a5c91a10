"""Delivered files: the inbox, reading files row by row or by column, quarantine, and the raw tables. What is made of
the rows belongs to `features`."""

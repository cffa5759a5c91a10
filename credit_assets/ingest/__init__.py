"""Delivered files: the inbox, reading and checking files, quarantine, and the raw tables. Features are in
`features`."""

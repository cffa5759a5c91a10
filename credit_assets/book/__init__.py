"""A portfolio compiled: its contracts, its feature SQL and the lineage of every column. Nothing is read from a lake
here."""

"""A compiled portfolio: its contracts, its feature SQL and the lineage of every column. Nothing is read from the lake
here."""

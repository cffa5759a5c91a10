"""Delta tables: reading, writing, versions, contracts checked in SQL, and the IO manager. The meaning of a table is not
known here."""

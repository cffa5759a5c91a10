"""Delta tables: reading, writing, versions, contracts checked in SQL, and the IO manager. What a table means is not
known here."""

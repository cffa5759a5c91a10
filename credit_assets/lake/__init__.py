"""Delta tables: reading, writing, versions, contracts checked in SQL, and the IO manager. What a table means is defined
in `schemas` and in the portfolios."""

"""Feature tables and the training set: computing them, splitting them, and guarding them against leakage. Their SQL
is parsed in `book`."""

"""Feature tables and the training set: computing features, splitting the data, and guarding against leakage. The SQL is
parsed in `book`."""

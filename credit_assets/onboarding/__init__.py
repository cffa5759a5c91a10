"""The commands `new`, which drafts a portfolio from unknown files, and `check`, which finds every error in one.

For `new`, `read_files` profiles the files, `guesses` interprets the columns, and `*_draft` and `*_drafts` write the
texts. For `check`, there is a module for each kind of file. Nothing here runs a portfolio."""

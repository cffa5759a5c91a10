"""What a person asks for: status, run, train, promote, roll back, withdraw. The command line calls these; nothing is
printed here."""

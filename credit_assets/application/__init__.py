"""The actions that a person requests: status, run, train, promote, roll back, withdraw. The command line calls them;
nothing is printed here."""

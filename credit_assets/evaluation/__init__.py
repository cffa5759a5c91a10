"""The evaluation of the candidate on test rows, compared with champion and baseline, and the promotion gate. `fairness`
compares groups of applicants."""

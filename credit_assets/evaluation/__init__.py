"""The candidate on test rows beside the champion and the baseline, and the promotion gate. Groups of applicants are
compared in `fairness`."""

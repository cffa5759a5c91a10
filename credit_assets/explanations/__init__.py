"""Explanations of a PD: contributions of features as adverse action reasons. `decisions` decides."""

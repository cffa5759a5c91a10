"""Why a PD is what it is: contributions of features as adverse action reasons. What is decided belongs to
`decisions`."""

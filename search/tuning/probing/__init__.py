"""Linear probes of a study: which are made, and what follows from them for the trials after them."""

"""Study files as text: find, parse and override them."""

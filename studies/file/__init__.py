"""Study files as text: finding, reading and overriding them."""

"""The review of suspicious labels: candidates by confident learning, a page with pictures, a table to fill in."""

"""Images that show where predictions err: which are chosen, and why."""

"""The program itself: its title in lists of processes, its release, and its usage errors."""

"""Commands that change something: start, confirm, export, pause, stop, try, replay, import."""

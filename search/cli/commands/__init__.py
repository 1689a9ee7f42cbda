"""The commands of ``search``: their options and help, and the call of what they do."""

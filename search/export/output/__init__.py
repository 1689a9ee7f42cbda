"""The folder of an export: what in it is ours, and how a new export replaces an old one."""

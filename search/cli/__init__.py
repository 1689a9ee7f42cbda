"""The command line: each command parses its arguments and calls one function of the layers below."""

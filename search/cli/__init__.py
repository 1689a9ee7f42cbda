"""The command line: parse the arguments, call one function, turn errors into exit codes."""

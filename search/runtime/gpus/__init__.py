"""GPUs of a host: which there are, which torch can use, and which worker gets which."""

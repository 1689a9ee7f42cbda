"""GPUs of a host: which there are, which torch can use, which worker gets which, and how busy it keeps one."""

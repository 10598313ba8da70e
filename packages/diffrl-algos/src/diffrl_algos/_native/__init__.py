"""Networks in compiled code, which every framework can call; nothing here imports one."""

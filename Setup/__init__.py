"""What a process needs before its first message: settings and the clients of each backing service."""

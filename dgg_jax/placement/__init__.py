"""Where data live: on devices, on the host, in processes."""

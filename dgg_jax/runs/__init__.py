"""Runs in folders: what they are told, what they leave, how they go on."""

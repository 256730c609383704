"""What people look at after a run: pages with figures, and tables of several runs."""

"""What is kept on disk, and how nothing of it is lost."""

"""What is read afterwards: pages that need no other file, their figures and their tables."""

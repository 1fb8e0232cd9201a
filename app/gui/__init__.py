"""The window. PyQt6 is imported here and nowhere else, so everything beside it runs on a machine without Qt."""

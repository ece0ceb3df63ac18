"""The built-in tool `code_interpreter`: Python in a sandbox."""

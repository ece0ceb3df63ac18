"""`inline::code-scanner`: insecure code in what a model writes and in the arguments of tools."""

"""Running code that somebody typed, in a process that does other work: the boundary to threads and `sys`.

streams         what it prints goes to whoever runs it, and not to the process's own output
interruption    it can be stopped from outside
textpipe        its output crosses from its thread to the loop's, within bounds
"""

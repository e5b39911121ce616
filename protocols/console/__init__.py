"""A Python console that knows no terminal.

source      lines to statements
statement   executing one: results, tracebacks
runner      in a thread or on the loop, with its output, and stopped when asked
completion  what a name may become
"""

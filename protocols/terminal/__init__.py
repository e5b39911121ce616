"""A terminal at the end of a byte stream: keys, the line that is being edited, and lines read one at a time.

    keys       bytes to text and named keys
    line       the text of one line and its cursor, and the lines before it
    display    showing that line on a screen whose width may change
    lines      `await terminal.read_line(">>> ")`

Nothing here knows telnet: whatever has the attributes of `lines.Screen` will do.
"""

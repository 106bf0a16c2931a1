"""The `chanote` command line: one file per noun, each adding its subcommands to the parser.

Exit codes: 0 done · 1 failed · 2 the request cannot be understood · 3 nothing of that name · 4 refused as things stand
· 5 the machine lacks something (port, disk, Python, database).
"""

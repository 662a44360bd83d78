"""Tables in and out: rows of CSV, XLSX and JSON to signed messages by a mapping file, and messages to rows.

What a newcomer opens first, in the order of a row's way:

    mapping.py     a mapping as read_mapping.py reads it from YAML (yaml_tree, words, patterns, template, dates, codes)
    rows.py        a file as a stream of rows of text (table, xlsx_rows, json_rows)
    compose.py     a row by a mapping -> a payload, or what is wrong with which cell (view, tree)
    load.py        rows -> messages -> the hub; journal.py remembers, error_sheet.py hands back what was refused
    extract.py     a payload by the same mapping -> a row; export.py writes them and counts what was lost
    sources.py     messages of a folder or a hub, latest versions alone; statistics.py and watchlist.py read those

docs/tables.md is the page for who writes a mapping. Nothing here knows a field of any kind but through its pointer.
"""

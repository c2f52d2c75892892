"""Pages generated from the machines' data, in Markdown; `python -m sockfsm.pages` writes them."""

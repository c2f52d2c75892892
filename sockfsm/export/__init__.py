"""A trace in the forms of other tools: Wireshark, Perfetto, spreadsheets, Mermaid."""

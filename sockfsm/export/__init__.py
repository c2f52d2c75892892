"""Writes a trace for other tools: Wireshark, Perfetto, spreadsheets, Mermaid."""

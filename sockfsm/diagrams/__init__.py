"""Pictures: machines and traces become a `Graph`, renderers turn it into DOT, SVG, PNG, Mermaid.

    model, trace -> lifecycle, server, path -> graph -> dot, mermaid -> render

Nothing here repeats a transition: every edge is looked up in the machines.
"""

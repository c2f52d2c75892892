"""Pictures of machines and traces. Builders make a `Graph`; renderers draw it.

    model, trace -> lifecycle, server, path -> graph -> dot, mermaid -> render

Nothing here repeats a transition: every edge is looked up in the machines.
"""

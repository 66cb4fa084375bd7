"""Everything that knows Gradio: one module a tab, the theme, the API. Knows the use cases; knows nothing of tensors or SQL."""

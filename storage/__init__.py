"""SQLite through sqlite-utils: schema, records, the store and the export. Knows nothing of models or Gradio."""

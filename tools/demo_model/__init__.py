"""Tools that train, measure and export the demonstration model ``models/f2llm-demo``."""

"""How well memory banks find what is asked for: questions over Caravan's own pages."""

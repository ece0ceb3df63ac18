"""Tool calls: their text forms, their schemas, and the grammars that enforce them."""

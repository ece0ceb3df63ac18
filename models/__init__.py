"""The small demo models of Caravan and the recipe that makes them."""

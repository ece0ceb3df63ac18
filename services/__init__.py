"""Caravan's services, one package each."""

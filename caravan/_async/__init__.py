"""The async client. `caravan/_sync` is made from these files by `tools/sync_client.py`; edit them here."""

"""The sync client, made from `caravan/_async` by `tools/sync_client.py`. Do not edit."""

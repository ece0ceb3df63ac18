"""`inline::embedded`: banks in a folder of this process.

SQLite holds what is true, one database a bank. What searches need (vectors, words, metadata) is kept in memory beside it, made from the
database when a bank is opened, with the help of a snapshot where there is a good one.
"""

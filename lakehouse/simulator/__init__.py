"""
An exchange that speaks ISS: for the demo, for tests, for anyone who writes an ISS client.

Its market is made from a seed, or recorded in CSV files. It thinks in naive Moscow time and in ISS's intervals.
"""

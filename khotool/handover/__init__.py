"""A handover without addresses: its values, the memory it may use, where things are put.

Codecs and everything above them share these; the room imports the model, the ABI and ``pages``, and
knows neither captures nor manifests.
"""
